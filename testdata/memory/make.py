#!/usr/bin/env python3
"""Writes what real servers say a key takes: values in RDB files, and MEMORY USAGE after loading them.

    python3 testdata/memory/make.py --port 17600 redis-6.0=PATH redis-7.0=PATH redis-8=PATH valkey-8=PATH \\
        valkey-9=PATH cairn=PATH

PATH is a server's binary. Files are written by four of them and measured by all that can read them, each with its
default settings. Keys and values are the same in every run; ages of files and hash orders are not.
"""
import argparse
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
FILES = [
    # The file, who writes it, whether it is about fields with an expiry, and who measures it.
    ("redis-6.0.16.rdb", "redis-6.0", False, ["redis-7.0", "redis-8", "valkey-8", "valkey-9", "cairn"]),
    ("valkey-8.1.1.rdb", "valkey-8", False, ["redis-8", "valkey-8", "valkey-9", "cairn"]),
    ("redis-8.0.6-field-ttl.rdb", "redis-8", True, ["redis-8", "cairn"]),
    ("valkey-9.1.2-field-ttl.rdb", "valkey-9", True, ["valkey-9", "cairn"]),
]
LETTERS = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
R = random.Random()


def text(length):
    return bytes(R.choice(LETTERS) for _ in range(length))


def element(kind):
    if kind == "int":
        return b"%d" % R.choice([R.randrange(-100, 100), R.randrange(-30000, 30000), R.randrange(2**31), R.randrange(2**50)])
    if kind == "i16":
        return b"%d" % R.randrange(30000)
    return text(R.randrange(1, 12) if kind == "short" else R.randrange(20, 100))


def commands(field_ttl):
    out = []

    def key(prefix):
        return prefix + b":" + text(R.choice([1, 3, 10, 24, 31, 40, 110]))

    def ttl(name):
        if R.random() < 0.35:
            out.append((b"EXPIREAT", name, b"%d" % (4000000000 + R.randrange(10**6))))

    def add(command, name, items):
        out.append((command, name, *items))
        ttl(name)

    if field_ttl:
        for n in [1, 5, 100, 300, 513, 900]:
            for kind in ["i16", "long"][: 1 if n > 100 else 2]:
                for share in [0.1, 1.0]:
                    name = key(b"hfe")
                    out.append((b"HSET", name, *[part for i in range(n) for part in (b"f%d" % i, element(kind))]))
                    for i in range(n):
                        if i == 0 or R.random() < share:
                            at = 4000000000000 + R.randrange(10**9 if n < 500 else 10**7)
                            out.append((b"HPEXPIREAT", name, b"%d" % at, b"FIELDS", b"1", b"f%d" % i))
                    ttl(name)
        return out
    lengths = [0, 1, 7, 8, 15, 16, 24, 31, 32, 43, 44, 45, 52, 53, 60, 64, 80, 100, 116, 117, 200, 252, 253, 256, 1000, 1025, 5000]
    for length in lengths * 2:
        add(b"SET", key(b"str"), [b"x" * length if length > 300 else text(length)])
    for value in [0, 9999, 10000, -1, 2**40, 2**62]:
        add(b"SET", key(b"int"), [b"%d" % value])
    counts = {
        "int": [1, 30, 513],
        "i16": [1, 20, 128, 129, 512, 700],
        "short": [1, 3, 127, 128, 129, 300, 600],
        "long": [1, 2, 5, 13, 40],
    }
    for kind, sizes in counts.items():
        for n in sizes:
            add(b"RPUSH", key(b"list"), [element(kind) for _ in range(n)])
            add(b"SADD", key(b"set"), [element(kind) for _ in range(n)])
            add(b"HSET", key(b"hash"), [part for i in range(n) for part in (b"f%d" % i, element(kind))])
            score = (lambda: b"%d" % R.randrange(10000)) if n % 2 else (lambda: b"%.3f" % (R.random() * 100))
            add(b"ZADD", key(b"zset"), [part for _ in range(n) for part in (score(), element(kind))])
    add(b"RPUSH", key(b"list"), [b"y" * 9000, b"z"] + [b"w" * 1000] * 20)
    for n in [1, 5, 100, 101, 400]:
        name, ms = key(b"stream"), 1700000000000
        for i in range(n):
            ms += R.choice([0, 1, 10, 1000])
            out.append((b"XADD", name, b"%d-%d" % (ms, i), b"name", element("short"), b"value", element("i16")))
        for group in [b"group0", b"group1"] if n != 5 else []:
            out.append((b"XGROUP", b"CREATE", name, group, b"0"))
            for i in range(3):
                count = b"%d" % R.choice([1, 10, 60])
                out.append((b"XREADGROUP", b"GROUP", group, b"consumer-%d" % i, b"COUNT", count, b"STREAMS", name, b">"))
        ttl(name)
    return out


class Server:
    def __init__(self, path, port, file=None):
        self.folder = tempfile.mkdtemp()
        if file:
            shutil.copy(file, os.path.join(self.folder, "dump.rdb"))
        args = ["--port", str(port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "", "--dbfilename", "dump.rdb"]
        self.process = subprocess.Popen([path, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.folder)
        for _ in range(200):
            try:
                self.stream = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
                break
            except OSError:
                time.sleep(0.05)
        while self("PING") != b"PONG":
            time.sleep(0.05)

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.stream.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
        self.stream.flush()
        return self.reply()

    def reply(self):
        line = self.stream.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2] if int(rest) >= 0 else None
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return int(rest) if kind == b":" else rest

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=17600)
    parser.add_argument("servers", nargs="+", metavar="NAME=PATH")
    args = parser.parse_args()
    paths = dict(word.split("=", 1) for word in args.servers)
    rows = []
    for file, writer, field_ttl, _ in FILES:
        server = Server(paths[writer], args.port)
        R.seed(7)
        for words in commands(field_ttl):
            server(*words)
        server("SAVE")
        shutil.copy(os.path.join(server.folder, "dump.rdb"), os.path.join(HERE, file))
        server.stop()
    for file, _, _, readers in FILES:
        for name in readers:
            server = Server(paths[name], args.port, os.path.join(HERE, file))
            for key in sorted(server("KEYS", "*")):
                encoding = server("OBJECT", "ENCODING", key).decode()
                rows.append((file, name, key.decode(), encoding, str(server("MEMORY", "USAGE", key, "SAMPLES", "0"))))
            server.stop()
    with open(os.path.join(HERE, "usage.tsv"), "w") as out:
        out.write("file\tserver\tkey\tencoding\tbytes\n")
        out.writelines("\t".join(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
