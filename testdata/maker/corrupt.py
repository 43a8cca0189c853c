"""Damages good files, each in one way, and writes down what is wrong with each.

Structural damage is sealed with a right checksum, so that a reader which only compares checksums does
not pass for one that looks. Every sample names the bytes it starts from.
"""
import os
import re
import shutil
import struct
import subprocess
import tempfile

from maker import packed, rdb
from maker.rdb import length, reseal, seal, string
from maker.resp import Server

GOOD = "redis-7.0.15-lru.rdb"
HEAD = b"REDIS0010"
HUGE = b"\x81" + struct.pack(">Q", 1 << 62)
WIDE = b"\x80" + struct.pack(">I", 0x7FFFFFFF)
ID = struct.pack(">QQ", 1, 1)


def one(kind, payload, head=HEAD):
    """A file with one key `k` of type `kind`."""
    return seal(head + b"\xfe\x00" + bytes([kind]) + string(b"k") + payload)


def lp(*entries, total=None, count=None, tail=b"\xff"):
    """A listpack of raw entries (each with its back length)."""
    body = b"".join(entries)
    size = 6 + len(body) + len(tail)
    return struct.pack("<IH", size if total is None else total,
                       len(entries) if count is None else count) + body + tail


def s(data):
    """A listpack entry: a short string."""
    return bytes([0x80 | len(data)]) + data + bytes([1 + len(data)])


def i(n):
    """A listpack entry: 0 to 127."""
    return bytes([n, 1])


def intset(width, *values):
    return struct.pack("<II", width, len(values)) + b"".join(v.to_bytes(width, "little", signed=True) for v in values)


def zl(*entries, tail=None, total=None, count=None):
    """A ziplist of raw entries."""
    body = b"".join(entries)
    last = 10 + len(body) - (len(entries[-1]) if entries else 0)
    return struct.pack("<IIH", 11 + len(body) if total is None else total, last if tail is None else tail,
                       len(entries) if count is None else count) + body + b"\xff"


def z(previous, data):
    return bytes([previous, len(data)]) + data


def node(*fields, items=1, deleted=0, flags=0):
    """A stream node of one entry with the master fields `f`."""
    return lp(i(items), i(deleted), i(1), s(b"f"), i(0), i(flags), i(0), i(0), i(1), *fields)


STREAM_TAIL = length(1) + length(1) + length(1) + length(1) + length(1) + length(0) * 2 + length(1)
GOOD_NODE = lp(i(1), i(0), i(1), s(b"f"), i(0), i(2), i(0), i(0), s(b"v"), i(4))


def stream(listpack=GOOD_NODE, key=ID, entries=1, groups=length(0)):
    """A type 19 value of one node."""
    return (length(1) + string(key) + string(listpack) + length(entries) + length(1) + length(1)
            + length(1) + length(1) + length(0) + length(0) + length(1) + groups)


def built():
    """name -> (bytes, what is wrong). Built from scratch, each with a right checksum."""
    ms = struct.pack("<q", 4_102_444_800_000)
    pel = length(1) + ID + ms + length(1)
    return {
        # header and framing
        "magic": (b"RODIS0010\xff" + b"\0" * 8, "the magic is not REDIS or VALKEY"),
        "version-letters": (b"REDIS00x1\xff" + b"\0" * 8, "the version is no number"),
        "version-zero": (b"REDIS0000\xff" + b"\0" * 8, "version 0"),
        "version-99": (seal(b"REDIS0099"), "a version from the future"),
        "opcode-unknown": (seal(HEAD + b"\xf0"), "opcode 240 is unknown"),
        "type-unknown": (one(99, string(b"v")), "value type 99 is unknown"),
        "type-6": (one(6, length(1) + length(0)), "type 6, values of modules before 4.0 was released"),
        "opcode-246": (seal(HEAD + b"\xf6" + string(b"x")), "opcode 246, functions before 7.0 was released"),
        "db-length-encoded": (seal(HEAD + b"\xfe\xc0\x00"), "a db number in an integer encoding"),
        "db-huge": (seal(HEAD + b"\xfe" + HUGE + b"\x00" + string(b"k") + string(b"v")), "db number 2^62"),
        "length-form-unknown": (seal(HEAD + b"\xfe\x00\x00\x82" + b"\0" * 8), "length form 0x82 is unknown"),
        "string-form-unknown": (one(0, b"\xc4\x00"), "string encoding 4 is unknown"),
        "expire-then-end": (seal(HEAD + b"\xfe\x00\xfc" + ms), "a time to live without a key"),
        # lengths beyond the file
        "string-huge": (one(0, HUGE + b"v"), "a string of 2^62 bytes"),
        "string-wide": (one(0, WIDE + b"v"), "a string of 2^31 - 1 bytes"),
        "key-huge": (seal(HEAD + b"\xfe\x00\x00" + HUGE + b"k"), "a key of 2^62 bytes"),
        "list-huge": (one(1, HUGE + string(b"a")), "a list of 2^62 elements"),
        "set-huge": (one(2, HUGE + string(b"a")), "a set of 2^62 members"),
        "zset-huge": (one(5, HUGE + string(b"a") + b"\0" * 8), "a sorted set of 2^62 members"),
        "hash-huge": (one(4, HUGE + string(b"f") + string(b"v")), "a hash of 2^62 fields"),
        "hash-double-is-huge": (one(4, b"\x81" + struct.pack(">Q", 1 << 63) + string(b"f") + string(b"v")),
                                "a hash of 2^63 fields: twice that is 0"),
        "quicklist-huge": (one(18, HUGE + length(2) + string(lp(s(b"a")))), "a list of 2^62 nodes"),
        "stream-huge": (one(19, HUGE + string(ID) + string(GOOD_NODE)), "a stream of 2^62 nodes"),
        "stream-pel-huge": (one(19, stream(groups=length(1) + string(b"g") + length(1) * 2 + length(1) + HUGE)),
                            "2^62 pending entries"),
        "hash-fields-ttl-huge": (one(24, ms + HUGE + length(1) + string(b"f") + string(b"v"), b"REDIS0012"),
                                 "a hash of 2^62 fields with times to live"),
        "resize-huge": (seal(HEAD + b"\xfe\x00\xfb" + HUGE + HUGE + b"\x00" + string(b"k") + string(b"v")),
                        "a size hint of 2^62 keys: a hint only, the file is good"),
        # LZF
        "lzf-before-start": (one(0, b"\xc3" + length(3) + length(10) + b"\x20\x05\x00"), "a back reference before the start"),
        "lzf-short": (one(0, b"\xc3" + length(3) + length(9) + b"\x01ab"), "unpacks to 2 bytes where 9 are declared"),
        "lzf-long": (one(0, b"\xc3" + length(5) + length(2) + b"\x03abcd"), "unpacks to 4 bytes where 2 are declared"),
        "lzf-huge": (one(0, b"\xc3" + length(3) + HUGE + b"\x01ab"), "declares 2^62 bytes unpacked"),
        "lzf-cut": (one(0, b"\xc3" + length(2) + length(9) + b"\x08a"), "literals run past the packed bytes"),
        # listpack
        "listpack-total": (one(16, string(lp(s(b"f"), s(b"v"), total=99))), "total bytes 99 in a listpack of 13"),
        "listpack-count": (one(16, string(lp(s(b"f"), s(b"v"), count=7))), "entry count 7 in a listpack of 2"),
        "listpack-no-end": (one(16, string(lp(s(b"f"), s(b"v"), tail=b"\x01"))), "no end byte"),
        "listpack-overrun": (one(16, string(lp(s(b"f"), b"\xbf" + b"v" + b"\x02"))), "an entry of 63 bytes has 1"),
        "listpack-overrun-32": (one(16, string(lp(s(b"f"), b"\xf0\xff\xff\xff\xffv\x06"))), "an entry of 2^32 - 1 bytes"),
        "listpack-back-length": (one(16, string(lp(s(b"f"), b"\x81v\x07"))), "a back length of 7 behind 2 bytes"),
        "listpack-encoding": (one(16, string(lp(s(b"f"), b"\xf7v\x02"))), "entry encoding 0xf7 is unknown"),
        "listpack-early-end": (one(16, string(lp(s(b"f"), s(b"v"), b"\xff", i(1), count=3))), "an end byte in the middle"),
        "listpack-short": (one(16, string(b"\x05\0\0\0\0")), "5 bytes are no listpack"),
        "listpack-empty-blob": (one(16, string(b"")), "an empty string is no listpack"),
        "hash-odd": (one(16, string(lp(s(b"f"), s(b"v"), s(b"g")))), "a field without a value"),
        "hash-duplicate": (one(16, string(lp(s(b"f"), s(b"v"), s(b"f"), s(b"w")))), "a field twice"),
        "hash-duplicate-plain": (one(4, length(2) + (string(b"f") + string(b"v")) * 2), "a field twice, type 4"),
        "hash-empty": (one(16, string(lp())), "a hash without fields"),
        "set-duplicate": (one(20, string(lp(s(b"a"), s(b"a"))), b"REDIS0011"), "a member twice"),
        "set-duplicate-plain": (one(2, length(2) + string(b"a") * 2), "a member twice, type 2"),
        "zset-odd": (one(17, string(lp(s(b"m"), i(1), s(b"n")))), "a member without a score"),
        "zset-score-text": (one(17, string(lp(s(b"m"), s(b"abc")))), "a score that is no number"),
        "zset-nan": (one(5, length(1) + string(b"m") + struct.pack("<d", float("nan"))), "the score is not a number"),
        "zset-nan-text": (one(3, length(1) + string(b"m") + b"\xfd"), "the score is not a number, type 3"),
        "zset-score-garbage": (one(3, length(1) + string(b"m") + b"\x03xyz"), "a score of letters, type 3"),
        "zset-duplicate": (one(5, length(2) + (string(b"m") + struct.pack("<d", 1.0)) * 2), "a member twice"),
        "hash-ttl-pairs": (one(25, ms + string(lp(s(b"f"), s(b"v"))), b"REDIS0012"), "no times beside field and value"),
        "hash-ttl-text": (one(25, ms + string(lp(s(b"f"), s(b"v"), s(b"t"))), b"REDIS0012"), "a time that is no number"),
        # intset
        "intset-width": (one(11, string(struct.pack("<II", 3, 1) + b"\1\0\0")), "width 3"),
        "intset-count": (one(11, string(struct.pack("<II", 2, 9) + b"\1\0")), "count 9 in 2 bytes"),
        "intset-count-huge": (one(11, string(struct.pack("<II", 8, 0x20000001) + b"\0" * 8)), "count times width is 8 beyond 2^32"),
        "intset-order": (one(11, string(intset(2, 5, 3))), "the values fall"),
        "intset-duplicate": (one(11, string(intset(2, 3, 3))), "a value twice"),
        "intset-empty": (one(11, string(intset(2))), "no values"),
        "intset-short": (one(11, string(b"\2\0\0\0")), "4 bytes are no intset"),
        # quicklist
        "quicklist-container": (one(18, length(1) + length(3) + string(b"a")), "container 3 is unknown"),
        "quicklist-empty-node": (one(18, length(1) + length(2) + string(lp())), "a node without entries"),
        "quicklist-bad-node": (one(18, length(1) + length(2) + string(b"not a listpack")), "a node that is no listpack"),
        "quicklist-no-nodes": (one(18, length(0)), "a list without nodes"),
        # ziplist and zipmap
        "ziplist-tail": (one(10, string(zl(z(0, b"a"), z(3, b"b"), tail=10))), "the tail points at the first entry"),
        "ziplist-previous": (one(10, string(zl(z(0, b"a"), z(9, b"b")))), "a previous length of 9 behind 3 bytes"),
        "ziplist-total": (one(10, string(zl(z(0, b"a"), total=200))), "total bytes 200 in a ziplist of 14"),
        "ziplist-overrun": (one(10, string(zl(b"\x00\x3fa"))), "an entry of 63 bytes has 1"),
        "ziplist-overrun-32": (one(10, string(zl(b"\x00\x80\xff\xff\xff\xffa"))), "an entry of 2^32 - 1 bytes"),
        "ziplist-encoding": (one(10, string(zl(b"\x00\xc5a"))), "entry encoding 0xc5 is unknown"),
        "ziplist-count": (one(13, string(zl(z(0, b"f"), z(3, b"v"), count=5))), "entry count 5 in a ziplist of 2"),
        "ziplist-odd": (one(13, string(zl(z(0, b"f")))), "a field without a value"),
        "zipmap-overrun": (one(9, string(b"\x01\x20ab\xff")), "a key of 32 bytes has 2"),
        "zipmap-no-value": (one(9, string(b"\x01\x01a\xff")), "a key without a value"),
        "zipmap-free": (one(9, string(b"\x01\x01a\x01\x60b\xff")), "96 spare bytes that are not there"),
        "zipmap-no-end": (one(9, string(b"\x01\x01a\x01\x00b")), "no end byte"),
        "zipmap-duplicate": (one(9, string(packed.zipmap([(b"a", b"1"), (b"a", b"2")]))), "a field twice"),
        # stream
        "stream-key": (one(19, stream(key=b"short")), "a node key of 5 bytes"),
        "stream-listpack": (one(19, stream(listpack=b"junk")), "a node that is no listpack"),
        "stream-listpack-empty": (one(19, stream(listpack=lp())), "a node without a master entry"),
        "stream-fields-overrun": (one(19, stream(listpack=node(s(b"a"), s(b"b"), i(72)))), "an entry's field count disagrees with its length"),
        "stream-fields-huge": (one(19, stream(listpack=lp(i(1), i(0), b"\xf4" + struct.pack("<q", 1 << 62) + b"\x09", s(b"f"), i(0)))), "2^62 master fields"),
        "stream-items": (one(19, stream(listpack=lp(i(9), i(0), i(1), s(b"f"), i(0), i(2), i(0), i(0), s(b"v"), i(4)))), "9 entries declared, 1 there"),
        "stream-entry-negative": (one(19, stream(listpack=lp(i(1), i(0), b"\xdf\xff\x02", i(0)))), "a master field count of -1"),
        "stream-length": (one(19, stream(entries=5)), "a length of 5, one entry"),
        "stream-pel-orphan": (one(19, stream(groups=length(1) + string(b"g") + length(1) * 2 + length(1) + pel
                                             + length(1) + string(b"c") + ms + length(1) + struct.pack(">QQ", 2, 2))),
                              "a consumer owns an entry that its group does not list"),
        "stream-pel-unowned": (one(19, stream(groups=length(1) + string(b"g") + length(1) * 2 + length(1) + pel + length(0))),
                               "a pending entry without a consumer"),
        "stream-pel-twice": (one(19, stream(groups=length(1) + string(b"g") + length(1) * 2 + length(1) + length(2)
                                            + (ID + ms + length(1)) * 2 + length(0))), "a pending entry twice"),
        "stream-group-twice": (one(19, stream(groups=length(2) + (string(b"g") + length(1) * 2 + length(1) + length(0) * 2) * 2)),
                               "a group twice"),
        "stream-consumer-twice": (one(19, stream(groups=length(1) + string(b"g") + length(1) * 2 + length(1) + length(0)
                                                 + length(2) + (string(b"c") + ms + length(0)) * 2)), "a consumer twice"),
        # modules and functions
        "module-opcode": (one(7, length(1 << 20) + b"\x09\x01\x00"), "module opcode 9 is unknown"),
        "module-no-end": (one(7, length(1 << 20) + b"\x02\x01"), "a module value that does not end"),
        "function-no-name": (seal(HEAD + b"\xf5" + string(b"return 1")), "a library without a #! line"),
        # keys
        "key-twice": (seal(HEAD + b"\xfe\x00" + (b"\x00" + string(b"k") + string(b"v")) * 2), "a key twice"),
    }


def damaged(good):
    """name -> (bytes, what is wrong). A real file, damaged."""
    records = list(rdb.Reader(good).records())
    value = next(r for r in records if r["key"] == b"noise")
    hashed = next(r for r in records if r["key"] == b"h")
    streamed = next(r for r in records if r["key"] == b"x")
    flipped = bytearray(good)
    flipped[value["end"] - 10] ^= 0x10
    total = bytearray(good)
    at = good.index(hashed["value"], hashed["value_at"])
    total[at] ^= 0x01
    return {
        "checksum": (good[:-1] + bytes([good[-1] ^ 1]), "the checksum's last byte"),
        "flip-in-string": (bytes(flipped), "one bit inside a string: only the checksum tells"),
        "flip-in-listpack": (reseal(bytes(total)), "one bit in a listpack's total bytes, checksum right"),
        "cut-in-magic": (good[:4], "cut inside the magic"),
        "cut-after-header": (good[:9], "cut behind the header"),
        "cut-in-aux": (good[:20], "cut inside an aux field"),
        "cut-in-key": (good[:value["start"] + 4], "cut inside a key"),
        "cut-in-value": (good[:value["value_at"] + 30], "cut inside a string value"),
        "cut-in-stream": (good[:streamed["end"] - 20], "cut inside a stream's groups"),
        "cut-before-end": (good[:-9], "cut before the end opcode"),
        "cut-in-checksum": (good[:-3], "cut inside the checksum"),
        "trailing": (good + b"trailing bytes", "bytes behind the checksum: the file itself is good"),
    }


# What a reader must make of a sample: `refuse` unless named here.
EXPECT = {
    "good": ["trailing", "resize-huge"],
    # A server drops such a key or refuses it, a check tool may call it an error.
    "empty": ["intset-empty", "hash-empty", "quicklist-empty-node", "quicklist-no-nodes"],
    # Shows only to who has the whole value: a loader and a deep check refuse it, a decoder that streams cannot.
    "value": ["hash-duplicate", "hash-duplicate-plain", "set-duplicate", "set-duplicate-plain", "zset-duplicate",
              "zipmap-duplicate", "stream-group-twice", "stream-consumer-twice", "stream-pel-twice",
              "stream-pel-orphan", "stream-pel-unowned"],
    # A reader of the format may pass it on; a server must not load it.
    "server": ["db-huge", "function-no-name", "key-twice", "expire-then-end", "stream-length", "zset-score-text"],
    # Only the checksum tells.
    "checksum": ["checksum", "flip-in-string"],
}


def expectation(name):
    return next((what for what, names in EXPECT.items() if name in names), "refuse")


# Append only logs

SET = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n"
LINE_B = b"file a.1.base.rdb seq 1 type b\n"
LINE_I = b"file a.1.incr.aof seq 1 type i\n"


def logs():
    """name -> (bytes, expectation, what is wrong), one file of commands each."""
    return {
        "argc-letters": (SET + b"*x\r\n", "refuse", "an argument count of letters"),
        "argc-negative": (SET + b"*-5\r\n" + SET, "refuse", "an argument count of -5"),
        "argc-zero": (SET + b"*0\r\n" + SET, "refuse", "a command without arguments"),
        "argc-huge": (SET + b"*9223372036854775807\r\n$3\r\nSET\r\n", "refuse", "2^63 - 1 arguments"),
        "bulk-letters": (SET + b"*1\r\n$abc\r\nPING\r\n", "refuse", "a bulk length of letters"),
        "bulk-negative": (SET + b"*1\r\n$-1\r\n", "refuse", "a bulk length of -1"),
        "bulk-huge": (SET + b"*1\r\n$4611686018427387904\r\nPING\r\n", "refuse", "a bulk of 2^62 bytes"),
        "bulk-short": (SET + b"*1\r\n$3\r\nPING\r\n" + SET, "refuse", "a bulk of 4 bytes that says 3"),
        "prefix": (SET + b"+1\r\n", "refuse", "a line that starts with +"),
        "no-crlf": (SET[:-2] + b"xx" + SET, "either", "other bytes where CR LF must be: servers do not look"),
        "timestamp-letters": (b"#TS:abc\r\n" + SET, "either", "a time of letters"),
        "comment": (b"#anything at all\r\n" + SET, "good", "a comment line: skipped"),
        "unknown-command": (SET + b"*1\r\n$7\r\nNOSUCHC\r\n", "server", "a command that does not exist"),
        "multi-nested": (b"*1\r\n$5\r\nMULTI\r\n" * 2 + SET + b"*1\r\n$4\r\nEXEC\r\n", "either", "MULTI inside MULTI"),
        "exec-alone": (SET + b"*1\r\n$4\r\nEXEC\r\n", "either", "EXEC without MULTI"),
        "multi-open": (SET + b"*1\r\n$5\r\nMULTI\r\n" + SET, "truncated", "MULTI without EXEC: cut back to the SET"),
        "cut-in-bulk": (SET + SET[:-4], "truncated", "cut inside a command"),
        "cut-in-argc": (SET + b"*3", "truncated", "cut inside a count"),
    }


def manifests():
    """name -> (the manifest's bytes, expectation, what is wrong). The files it may name are there."""
    return {
        "good": (LINE_B + LINE_I, "good", "nothing"),
        "comment": (b"# a comment\n" + LINE_B + LINE_I, "good", "a comment line: skipped"),
        "extra-pairs": (b"file a.1.base.rdb seq 1 type b startoffset 7\n" + LINE_I, "good", "pairs that are unknown: skipped"),
        "empty": (b"", "refuse", "no bytes"),
        "blank-line": (LINE_B + b"\n" + LINE_I, "refuse", "a blank line"),
        "no-newline": (LINE_B + LINE_I[:-1], "refuse", "the last line does not end"),
        "two-bases": (LINE_B + b"file a.2.base.rdb seq 2 type b\n" + LINE_I, "refuse", "two base files"),
        "type-unknown": (LINE_B + b"file a.1.incr.aof seq 1 type x\n", "refuse", "file type x"),
        "no-type": (LINE_B + b"file a.1.incr.aof seq 1\n", "refuse", "a line without a type"),
        "odd-words": (LINE_B + b"file a.1.incr.aof seq 1 type\n", "refuse", "a name without a value"),
        "seq-letters": (LINE_B + b"file a.1.incr.aof seq x type i\n", "refuse", "a sequence number of letters"),
        "seq-falls": (LINE_B + b"file a.2.incr.aof seq 2 type i\n" + LINE_I, "refuse", "sequence numbers that fall"),
        "seq-twice": (LINE_B + LINE_I + LINE_I, "refuse", "a sequence number twice"),
        "path": (b"file ../a.1.base.rdb seq 1 type b\n", "refuse", "a path instead of a name"),
        "missing-base": (b"file a.9.base.rdb seq 9 type b\n" + LINE_I, "refuse", "the base is not there"),
        "missing-incr": (LINE_B + b"file a.9.incr.aof seq 9 type i\n", "refuse", "an incremental file is not there"),
        "line-long": (b"file " + b"a" * 2000 + b" seq 1 type b\n", "refuse", "a line of over 1024 bytes"),
    }


def run_check(tool, path):
    """Exit status and the line that tells the error, with the path taken out."""
    out = subprocess.run([tool, path], capture_output=True, text=True, errors="replace", timeout=60)
    lines = [line.strip() for line in (out.stdout + out.stderr).split("\n") if line.strip()]
    marks = [n for n, line in enumerate(lines) if "ERROR DETECTED" in line]
    if marks:
        note = lines[marks[0] + 1]
    else:
        note = next((line for line in lines if any(w in line for w in ("rror", "Wrong", "Can't", "not valid", "xpected"))), lines[-1])
    if "STACK TRACE" in note:
        note = "crashes"
    note = re.sub(r"^\d+:C .* # |, got: .*$", "", note)
    name = os.path.basename(path)
    return out.returncode, note.replace(path, name).replace(os.path.dirname(path), "DIR")[:140]


def loads(server, port, fill, *args):
    """What a server does that starts in the folder that `fill` prepares."""
    with tempfile.TemporaryDirectory() as folder:
        fill(folder)
        try:
            with Server(server, port, folder, *args) as running:
                return f"loads, {running.client('DBSIZE')} keys"
        except RuntimeError as error:
            return "crashes" if "BUG REPORT" in str(error) else "refuses"


def make_rdb(home, server, port):
    folder = os.path.join(home, "corrupt", "rdb")
    os.makedirs(folder)
    with open(os.path.join(home, "rdb", GOOD), "rb") as file:
        good = file.read()
    rows = []
    for origin, samples in (("built", built()), (GOOD, damaged(good))):
        for name, (data, what) in samples.items():
            path = os.path.join(folder, name + ".rdb")
            with open(path, "wb") as file:
                file.write(data)
            fill = lambda to, path=path: shutil.copy(path, os.path.join(to, "dump.rdb"))
            rows.append([f"rdb/{name}.rdb", origin, expectation(name), what,
                         loads(server, port, fill, "--sanitize-dump-payload", "yes"),
                         *run_check(server.replace("-server", "-check-rdb"), path)])
    return rows


def make_aof(home, server, port):
    folder = os.path.join(home, "corrupt", "aof")
    os.makedirs(folder)
    check = server.replace("-server", "-check-aof")
    rows = []
    for name, (data, expect, what) in logs().items():
        path = os.path.join(folder, name + ".aof")
        with open(path, "wb") as file:
            file.write(data)
        fill = lambda to, path=path: shutil.copy(path, os.path.join(to, "appendonly.aof"))
        rows.append([f"aof/{name}.aof", "built", expect, what,
                     loads(server, port, fill, "--appendonly", "yes", "--aof-load-truncated", "yes"),
                     *run_check(check, path)])
    base = one(0, string(b"v"))
    for name, (data, expect, what) in manifests().items():
        there = os.path.join(folder, "manifest-" + name)
        os.makedirs(there)
        path = os.path.join(there, "a.manifest")
        for file_name, content in (("a.manifest", data), ("a.1.base.rdb", base), ("a.1.incr.aof", SET),
                                   ("a.2.base.rdb", base), ("a.2.incr.aof", SET)):
            if file_name == "a.manifest" or file_name.encode() in data:
                with open(os.path.join(there, file_name), "wb") as file:
                    file.write(content)
        fill = lambda to, there=there: shutil.copytree(there, os.path.join(to, "d"))
        rows.append([f"aof/manifest-{name}", "built", expect, what,
                     loads(server, port, fill, "--appendonly", "yes", "--appendfilename", "a", "--appenddirname", "d"),
                     *run_check(check, path)])
    return rows


def make(home, server, port):
    folder = os.path.join(home, "corrupt")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    rows = make_rdb(home, server, port) + make_aof(home, server, port)
    with open(os.path.join(folder, "index.tsv"), "w") as file:
        file.write("file\tmade from\texpect\twhat is wrong\tserver\tcheck status\tcheck says\n")
        for row in sorted(rows):
            file.write("\t".join(map(str, row)) + "\n")
