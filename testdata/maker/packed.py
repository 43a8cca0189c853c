"""Cuts packed values out of the RDB files and writes their entries beside them.

The four decoders here are a second reading of the formats, independent of the engine's; each result is
compared with what the server itself answered for that key.
"""
import json
import os
import struct

from maker import rdb
from maker.expect import text

SAMPLES = {
    "valkey-9.1.2": {
        "listpack": ["hash:listpack", "hash:ints", "hash:binary", "set:strings", "zset:listpack", "zset:scores",
                     "list:ints", "list:mixed", "stream:one", "stream:nodes", "stream:groups"],
        "intset": ["set:int16", "set:int32", "set:int64"],
    },
    "redis-8.0.6": {"listpack": ["hash:fields-ttl", "hash:fields-ttl-all"]},
    "redis-6.0.16": {"ziplist": ["hash:listpack", "hash:ints", "hash:binary", "zset:listpack", "list:ints",
                                 "list:mixed"]},
}
ZIPMAPS = {
    "empty": [],
    "one": [(b"field", b"value")],
    "three": [(b"a", b""), (b"", b"b"), (bytes(range(20)), b"\xff" * 30)],
    "long": [(b"k" * 253, b"v" * 254), (b"short", b"w" * 300)],
}


def listpack(data):
    """The entries of a listpack, integers as their decimal text."""
    total, count = struct.unpack_from("<IH", data)
    assert total == len(data) and data[-1] == 0xFF
    out, at = [], 6
    while data[at] != 0xFF:
        first, start = data[at], at
        if first < 0x80:
            out.append(b"%d" % first)
            at += 1
        elif first < 0xC0:
            at += 1 + (first & 63)
            out.append(data[start + 1:at])
        elif first < 0xE0:
            value = (first & 31) << 8 | data[at + 1]
            out.append(b"%d" % (value - 0x2000 if value >= 0x1000 else value))
            at += 2
        elif first < 0xF0:
            at += 2 + ((first & 15) << 8 | data[at + 1])
            out.append(data[start + 2:at])
        elif first == 0xF0:
            at += 5 + struct.unpack_from("<I", data, at + 1)[0]
            out.append(data[start + 5:at])
        else:
            width = {0xF1: 2, 0xF2: 3, 0xF3: 4, 0xF4: 8}[first]
            at += 1 + width
            out.append(b"%d" % int.from_bytes(data[start + 1:at], "little", signed=True))
        size = at - start
        at += 1 if size < 128 else 2 if size < 16384 else 3 if size < 2097152 else 4
    assert at == len(data) - 1 and count in (len(out), 65535)
    return out


def ziplist(data):
    total, tail, count = struct.unpack_from("<IIH", data)
    assert total == len(data) and data[-1] == 0xFF
    out, at, last = [], 10, 0
    while data[at] != 0xFF:
        last = at
        at += 5 if data[at] == 0xFE else 1
        first = data[at]
        if first < 0x40:
            size, at = first, at + 1
        elif first < 0x80:
            size, at = (first & 63) << 8 | data[at + 1], at + 2
        elif first < 0xC0:
            size, at = struct.unpack_from(">I", data, at + 1)[0], at + 5
        elif 0xF1 <= first <= 0xFD:
            out.append(b"%d" % ((first & 15) - 1))
            at += 1
            continue
        else:
            width = {0xC0: 2, 0xD0: 4, 0xE0: 8, 0xF0: 3, 0xFE: 1}[first]
            out.append(b"%d" % int.from_bytes(data[at + 1:at + 1 + width], "little", signed=True))
            at += 1 + width
            continue
        out.append(data[at:at + size])
        at += size
    assert at == len(data) - 1 and count in (len(out), 65535) and (last == tail or not out)
    return out


def intset(data):
    width, count = struct.unpack_from("<II", data)
    assert len(data) == 8 + width * count
    return [b"%d" % int.from_bytes(data[8 + i * width:8 + (i + 1) * width], "little", signed=True)
            for i in range(count)]


def zipmap(items):
    """Builds one: count byte, then length key length free value, then 0xff. Values get spare bytes in turn."""
    out = bytearray([min(len(items), 254)])
    for i, (key, value) in enumerate(items):
        spare = i % 3
        out += zipmap_length(len(key)) + key + zipmap_length(len(value)) + bytes([spare]) + value + b"\0" * spare
    return bytes(out + b"\xff")


def zipmap_length(n):
    return bytes([n]) if n < 254 else b"\xfe" + struct.pack("<I", n)


def blob(kind, value):
    """The bytes of the packed value in what the reader gave."""
    if kind == 18:
        return next(data for container, data in value if container == 2)
    if kind == 14:
        return value[0]
    if kind in (15, 19, 21):
        return value[0][1]
    return value


def same(record, entries):
    """Whether the decoded entries are what the server answered."""
    kind, value = record["type"], record["value"]
    entries = [text(e) for e in entries]
    if kind == "hash":
        step = 3 if record.get("encoding") == "listpackex" else 2
        return sorted(map(str, value)) == sorted(str([entries[i], entries[i + 1]])
                                                 for i in range(0, len(entries), step))
    if kind == "zset":
        return [m for m, _ in value] == entries[::2]
    if kind == "list":
        return value[:len(entries)] == entries
    if kind == "set":
        return sorted(map(str, value)) == sorted(map(str, entries))
    return True


def make(home):
    folder = os.path.join(home, "packed")

    def put(kind, name, data, entries):
        os.makedirs(os.path.join(folder, kind), exist_ok=True)
        path = os.path.join(folder, kind, name)
        with open(path + ".bin", "wb") as file:
            file.write(data)
        with open(path + ".expected.json", "w", encoding="ascii") as file:
            json.dump([text(e) for e in entries], file, separators=(",", ":"))
            file.write("\n")

    for producer, kinds in SAMPLES.items():
        base = os.path.join(home, "rdb", f"{producer}-nocompress")
        with open(base + ".rdb", "rb") as file:
            found = {r["key"]: r for r in rdb.Reader(file.read()).records() if r["db"] == 0}
        with open(base + ".expected.jsonl") as file:
            records = {r["key"]: r for r in map(json.loads, file) if r["db"] == 0 and isinstance(r["key"], str)}
        for kind, keys in kinds.items():
            for key in keys:
                record = found[key.encode()]
                data = blob(record["type"], record["value"])
                entries = {"listpack": listpack, "intset": intset, "ziplist": ziplist}[kind](data)
                assert same(records[key], entries), (producer, key)
                put(kind, f"{producer}-{key.replace(':', '_')}", data, entries)
    for name, items in ZIPMAPS.items():
        put("zipmap", name, zipmap(items), [x for pair in items for x in pair])
