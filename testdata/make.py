#!/usr/bin/env python3
"""Makes the files of testdata/ with a real server, and the table in testdata/README.md.

usage: make.py [--port N] SERVER...     writes what these server binaries can write
       make.py --modules DIR SERVER     the file with values of modules (DIR holds two, compiled)
       make.py packed                   cuts the packed samples out of the RDB files
       make.py corrupt --server S       writes damaged files; S is the server that judges them
       make.py readme                   writes the table of README.md anew

Python's standard library only. Each SERVER is the path of a redis-server or valkey-server; what it
can write is found out from its version. The files differ from run to run in hash order, creation time
and nothing else, so the table is to be renewed after each run.
"""
import argparse
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

from maker import corrupt, data, expect, packed, rdb, readme  # noqa: E402
from maker.resp import Server, pairs, version  # noqa: E402

RDB, AOF = os.path.join(HERE, "rdb"), os.path.join(HERE, "aof")


class Maker:
    """All files of one producer."""

    def __init__(self, binary, port):
        self.binary, self.port = os.path.abspath(binary), port
        self.producer, self.version = version(binary)
        self.redis = self.producer.startswith("redis")
        self.debug = self.version >= (7,)

    def server(self, folder, *args):
        return Server(self.binary, self.port, folder, *args, debug=self.debug)

    # RDB files

    def rdb(self, name, fill, *args, load=(), no_digest=False):
        """Fills a fresh server, saves, and writes down what the finished file holds: in a server with
        default settings and those of `load`."""
        with tempfile.TemporaryDirectory() as folder:
            with self.server(folder, *args) as server:
                fill(server.client)
                server.client("SAVE")
            path = os.path.join(RDB, f"{self.producer}-{name}")
            shutil.copy(os.path.join(folder, "dump.rdb"), path + ".rdb")
        self.describe_rdb(path, load, no_digest)
        print(f"{path}.rdb", os.path.getsize(path + ".rdb"))

    def describe_rdb(self, path, args, no_digest):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(path + ".rdb", os.path.join(folder, "dump.rdb"))
            with self.server(folder, *args) as server:
                if "--cluster-enabled" in args:
                    self.wait_cluster(server.client)
                records = expect.contents(server.client)
                digest = server.client("DEBUG", "DIGEST").decode()
        with open(path + ".rdb", "rb") as file:
            reader = rdb.Reader(file.read())
        expect.write(path + ".expected.jsonl", expect.with_file_facts(records, reader))
        if not no_digest:
            with open(path + ".digest.txt", "w") as file:
                file.write(digest + "\n")

    def rdbs(self):
        self.rdb("all-types", lambda c: data.all_types(c, self.version))
        self.rdb("empty", lambda c: None)
        self.rdb("nochecksum", data.few, "--rdbchecksum", "no")
        if self.version[:2] != (8, 1):  # the folder is to stay small, and 9.1 writes the same
            self.rdb("nocompress", lambda c: data.all_types(c, self.version, long_values=False),
                     "--rdbcompression", "no")
        self.rdb("lru", data.few, "--maxmemory-policy", "allkeys-lru", "--maxmemory", "1gb")
        self.rdb("lfu", data.few, "--maxmemory-policy", "allkeys-lfu", "--maxmemory", "1gb")
        if self.version >= (6,):
            self.rdb("expired", self.fill_expired)
        if self.version >= (7,):
            self.rdb("functions", data.functions)
        if self.version >= (8,):
            on = ("--cluster-enabled", "yes")
            self.rdb("cluster", self.fill_cluster, *on, load=on)

    def modules(self, folder):
        """Values and aux data of two modules of the server's own tests, built by hand beforehand."""
        load = []
        for module in (("testrdb.so", "6"), ("datatype.so",)):
            load += ["--loadmodule", os.path.join(folder, module[0]), *module[1:]]
        # Digests of module types are the modules' business.
        self.rdb("modules", self.fill_modules, *load, load=tuple(load), no_digest=True)

    def fill_modules(self, client):
        client("TESTRDB.SET.BEFORE", "before the keys")
        client("TESTRDB.SET.AFTER", b"after\x00the keys")
        client("TESTRDB.SET.KEY", "testrdb:1", "a value")
        client("TESTRDB.SET.KEY", "testrdb:2", b"\x00\xff")
        client("PEXPIREAT", "testrdb:2", data.FAR)
        client("DATATYPE.SET", "datatype:1", -123456789, "text")
        client("DATATYPE.SET", "datatype:2", 70000, b"b\x00")
        client("SET", "plain", "v")

    def fill_expired(self, client):
        """Keys, and fields where there are such times, that are past when the file is read."""
        client("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        data.few(client)
        for i, command in enumerate((["SET", "gone:s", "v"], ["RPUSH", "gone:l", "a"], ["SADD", "gone:set", "1"],
                                     ["HSET", "gone:h", "f", "v"], ["ZADD", "gone:z", 1, "m"],
                                     ["XADD", "gone:x", "1-1", "f", "v"])):
            client(*command)
            client("PEXPIRE", command[1], 1 + i)
        if data.has(client, "HPEXPIRE"):
            client("HSET", "fields:some", "a", "1", "b", "2", "far", "3")
            client("HPEXPIREAT", "fields:some", data.FAR, "FIELDS", 1, "far")
            client("HPEXPIRE", "fields:some", 1, "FIELDS", 1, "a")
            client("HSET", "fields:all", "a", "1", "b", "2")
            client("HPEXPIRE", "fields:all", 1, "FIELDS", 2, "a", "b")
        time.sleep(0.05)

    def wait_cluster(self, client):
        """A node takes the slots of the keys it loads; the others are given to it here."""
        ours = {slot for low, high, *_ in client("CLUSTER", "SLOTS") for slot in range(low, high + 1)}
        missing = [slot for slot in range(16384) if slot not in ours]
        if missing:
            client("CLUSTER", "ADDSLOTS", *missing)
        for _ in range(200):
            if b"cluster_state:ok" in client("CLUSTER", "INFO"):
                return
            time.sleep(0.05)
        raise RuntimeError("the cluster stays down")

    def fill_cluster(self, client):
        client("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        self.wait_cluster(client)
        data.few(client)
        for i in range(5):
            client("SET", f"{{tag}}{i}", i)

    # append only logs

    def aof(self, name, steps, *args, twice=True, load=(), spoil=None):
        """Runs `steps` on a server that logs, ends it, and writes down what a load of the log gives."""
        args = ("--appendonly", "yes") + args
        home = os.path.join(AOF, f"{self.producer}-{name}")
        with tempfile.TemporaryDirectory() as folder:
            with self.server(folder, *args) as server:
                steps(server)
                server.stop()
            shutil.rmtree(home, ignore_errors=True)
            os.makedirs(home)
            for entry in os.listdir(folder):
                if entry.startswith("append") or "dir" in entry:
                    source, target = os.path.join(folder, entry), os.path.join(home, entry)
                    shutil.copytree(source, target) if os.path.isdir(source) else shutil.copy(source, target)
        if spoil:
            spoil(home)
        found = []
        for _ in range(2 if twice else 1):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(home, folder, dirs_exist_ok=True)
                with self.server(folder, *args, *load) as server:
                    found.append(expect.contents(server.client))
                    digest = server.client("DEBUG", "DIGEST").decode()
            time.sleep(0.01)
        if twice:
            expect.unsteady(found[0], found[1])
        expect.write(home + ".expected.jsonl", found[0])
        with open(home + ".digest.txt", "w") as file:
            file.write(digest + "\n")
        print(home)

    def aofs(self):
        rewrite = lambda server: (data.few(server.client), self.rewrite(server),
                                  data.log_writes(server.client, self.version))
        plain = lambda server: data.log_writes(server.client, self.version)
        if self.version < (7,):
            self.aof("single", plain, "--aof-use-rdb-preamble", "no")
            self.aof("single-preamble", rewrite, "--aof-use-rdb-preamble", "yes")
            as_sent = ("--lua-replicate-commands", "no")
            self.aof("single-scripts", lambda server: data.scripts(server.client),
                     "--aof-use-rdb-preamble", "no", *as_sent)
            self.aof("single-preamble-scripts",
                     lambda server: (data.few(server.client), self.rewrite(server), data.scripts(server.client),
                                     data.scripts_since_five(server.client)),
                     "--aof-use-rdb-preamble", "yes", *as_sent)
            return
        self.aof("preamble", rewrite, "--aof-use-rdb-preamble", "yes")
        self.aof("nopreamble", rewrite, "--aof-use-rdb-preamble", "no")
        self.aof("timestamps", self.timestamps, "--aof-timestamp-enabled", "yes", "--aof-use-rdb-preamble", "no")
        if self.version >= (7, 2):
            return
        self.aof("fresh", plain)
        self.aof("multi-incr", self.multi_incr, "--rdb-key-save-delay", "0")
        self.aof("history", self.history, "--aof-disable-auto-gc", "yes")
        self.aof("names", rewrite, "--appendfilename", "my log.aof", "--appenddirname", "append dir")
        self.aof("truncated", rewrite, load=("--aof-load-truncated", "yes"), spoil=lambda h: cut(h, -7))
        self.aof("truncated-tx", self.open_tx, load=("--aof-load-truncated", "yes"),
                 spoil=lambda h: cut(h, -len("*1\r\n$4\r\nEXEC\r\n")))

    def rewrite(self, server):
        server.client("BGREWRITEAOF")
        for _ in range(500):
            if server.client.info("aof_rewrite_in_progress") == "0" and \
                    server.client.info("aof_rewrite_scheduled") == "0":
                assert server.client.info("aof_last_bgrewrite_status") == "ok"
                return
            time.sleep(0.02)
        raise RuntimeError("the rewrite did not end")

    def timestamps(self, server):
        data.few(server.client)
        self.rewrite(server)
        data.log_writes(server.client, self.version)
        time.sleep(1.1)
        server.client("SET", "late", "1")
        time.sleep(1.1)
        server.client("FLUSHDB")
        server.client("SET", "after-flush", "1")

    def open_tx(self, server):
        data.few(server.client)
        server.client("MULTI")
        server.client("SET", "in-tx", "1")
        server.client("SET", "in-tx-2", "2")
        server.client("EXEC")

    def multi_incr(self, server):
        """Rewrites whose child is killed leave one more incremental file each."""
        data.few(server.client)
        server.client("CONFIG", "SET", "rdb-key-save-delay", "100000000")
        for i in range(3):
            server.client("BGREWRITEAOF")
            for _ in range(100):
                if server.children():
                    break
                time.sleep(0.02)
            server.client("SET", f"incr:{i}", i)
            for pid in server.children():
                os.kill(pid, signal.SIGKILL)
            for _ in range(500):
                if server.client.info("aof_rewrite_in_progress") == "0":
                    break
                time.sleep(0.02)
            server.client("APPEND", "s", f"-{i}")

    def history(self, server):
        """The base and the incremental file that a rewrite replaced stay in the manifest."""
        data.few(server.client)
        self.rewrite(server)
        server.client("SET", "second", "2")
        self.rewrite(server)
        data.log_writes(server.client, self.version)


def cut(home, keep):
    """Shortens the last incremental file of a set."""
    folder = os.path.join(home, "appendonlydir")
    name = max(n for n in os.listdir(folder) if ".incr." in n)
    with open(os.path.join(folder, name), "r+b") as file:
        file.truncate(os.path.getsize(file.name) + keep)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=16390)
    parser.add_argument("--modules", default="", help="folder with testrdb.so and datatype.so: makes that file only")
    parser.add_argument("--server", default="", help="for `corrupt`: the server that judges")
    parser.add_argument("what", nargs="+")
    args = parser.parse_args()
    for what in args.what:
        if what == "packed":
            packed.make(HERE)
        elif what == "corrupt":
            corrupt.make(HERE, os.path.abspath(args.server), args.port)
        elif what == "readme":
            readme.make(HERE)
        else:
            os.makedirs(RDB, exist_ok=True)
            os.makedirs(AOF, exist_ok=True)
            maker = Maker(what, args.port)
            if args.modules:
                maker.modules(os.path.abspath(args.modules))
                continue
            maker.rdbs()
            maker.aofs()


if __name__ == "__main__":
    main()
