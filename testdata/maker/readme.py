"""Writes the table of testdata/README.md from the files that are there."""
import hashlib
import os

MARK = "<!-- The rows below are written by `make.py readme`. -->\n"
WHAT = {
    "all-types": "every type and encoding this server writes, binary keys, four dbs, TTLs, functions, stream groups",
    "nocompress": "the same without LZF and without the long strings (`--rdbcompression no`)",
    "empty": "no keys",
    "nochecksum": "one key of each type, last eight bytes zero (`--rdbchecksum no`)",
    "lru": "IDLE opcodes (`--maxmemory-policy allkeys-lru`)",
    "lfu": "FREQ opcodes (`--maxmemory-policy allkeys-lfu`)",
    "expired": "keys, and fields where it knows such times, that are past when the file is read",
    "functions": "two function libraries and no keys",
    "cluster": "saved in cluster mode: slot info (opcode 244 in Redis, aux field in Valkey)",
    "modules": "values and aux data of the modules testrdb and datatype of the server's own tests (`--loadmodule`)",
    "preamble": "base is an RDB, one incremental file with writes of every kind",
    "nopreamble": "base of commands (`--aof-use-rdb-preamble no`)",
    "timestamps": "`#TS:` lines, base of commands, a FLUSHDB late in the log (`--aof-timestamp-enabled yes`)",
    "fresh": "never rewritten: an empty base",
    "multi-incr": "base and four incremental files: rewrites whose child was killed",
    "history": "history entries in the manifest, their files kept (`--aof-disable-auto-gc yes`)",
    "names": "file and folder names with spaces",
    "truncated": "the last file cut inside a command (loaded with `--aof-load-truncated yes`)",
    "truncated-tx": "the last file cut before EXEC; its transaction is dropped",
    "single": "one file of commands, before 7.0",
    "single-preamble": "one file: an RDB, then commands, before 7.0",
    "single-scripts": "EVAL, EVALSHA and SCRIPT LOAD as they were sent (`--lua-replicate-commands no`)",
    "single-preamble-scripts": "the same behind an RDB, which tells the version; a write after TTL is refused",
}


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def describe(name):
    """(producer, version, what) from `producer-version-what`."""
    producer, number, what = name.split("-", 2)
    return producer, number, WHAT[what]


def rows(home):
    """(folder-relative path, producer, version, command, what) for each file but the expected ones."""
    for kind in ("rdb", "aof", "packed", "corrupt"):
        for folder, _, names in os.walk(os.path.join(home, kind)):
            for name in names:
                path = os.path.relpath(os.path.join(folder, name), home)
                if name.endswith((".expected.jsonl", ".expected.json", ".digest.txt", ".tsv")):
                    continue
                parts = path.split(os.sep)
                if kind in ("rdb", "aof"):
                    what = parts[1].removesuffix(".rdb")
                    producer, number, text = describe(what)
                    yield path, producer, number, "make.py SERVER", text
                elif kind == "packed":
                    yield path, *packed_origin(parts)
                else:
                    yield path, "make.py", "", "make.py --server S corrupt", "see corrupt/index.tsv"


def packed_origin(parts):
    if parts[1] == "zipmap":
        return "make.py", "", "make.py packed", "written by hand: no server at hand writes zipmaps"
    producer, number, key = parts[2].removesuffix(".bin").split("-", 2)
    return producer, number, "make.py packed", f"the blob of `{key.replace('_', ':', 1)}` in its nocompress.rdb"


def make(home):
    path = os.path.join(home, "README.md")
    with open(path) as file:
        head = file.read().split(MARK)[0]
    out = [head + MARK, "| file | producer | version | command | what | bytes | sha256 |\n",
           "| --- | --- | --- | --- | --- | --- | --- |\n"]
    for name, producer, number, command, what in sorted(rows(home)):
        full = os.path.join(home, name)
        out.append(f"| {name} | {producer} | {number} | `{command}` | {what} | "
                   f"{os.path.getsize(full)} | {sha256(full)} |\n")
    with open(path, "w") as file:
        file.writelines(out)
