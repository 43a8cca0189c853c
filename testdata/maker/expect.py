"""Asks a live server what it holds and writes that down as JSONL, one line a key.

The form is described in testdata/README.md. Nothing here reads a file format except through the
records that `rdb.Reader` gives (type bytes, string forms, idle and freq).
"""
import base64
import hashlib
import json

from maker.data import FAR
from maker.resp import ReplyError, pairs


def text(data, is_key=False):
    """A JSON string if every byte is printable ASCII, else {"b64": ...}; a long one that is not a key
    by its length and SHA-1."""
    if len(data) > 4096 and not is_key:
        return {"len": len(data), "sha1": hashlib.sha1(data).hexdigest()}
    if all(0x20 <= byte <= 0x7E for byte in data):
        return data.decode("ascii")
    return {"b64": base64.b64encode(data).decode("ascii")}


def line(record):
    return json.dumps(record, separators=(",", ":"), ensure_ascii=True)


def score(reply):
    """The double of a ZRANGE reply as %.17g."""
    return "%.17g" % float(reply)


def stream(client, key):
    full = pairs(client("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    out = {"entries": [[i.decode(), [text(x) for x in fields]] for i, fields in full["entries"]],
           "length": full["length"], "last_id": full["last-generated-id"].decode()}
    if "entries-added" in full:
        out["first_id"] = full["recorded-first-entry-id"].decode()
        out["max_deleted_id"] = full["max-deleted-entry-id"].decode()
        out["entries_added"] = full["entries-added"]
    out["groups"] = []
    for reply in full["groups"]:
        group = pairs(reply)
        one = {"name": text(group["name"]), "last_id": group["last-delivered-id"].decode()}
        if "entries-read" in group:
            one["entries_read"] = group["entries-read"]
        pel = [[i.decode(), text(name), at, count] for i, name, at, count in group["pending"]]
        one["pel"] = pel
        one["consumers"] = []
        for reply in sorted(group["consumers"], key=lambda c: pairs(c)["name"]):
            consumer = pairs(reply)
            entry = {"name": text(consumer["name"]), "seen_time": consumer["seen-time"]}
            if "active-time" in consumer:
                entry["active_time"] = consumer["active-time"]
            entry["pel"] = [i.decode() for i, _, _ in consumer["pending"]]
            one["consumers"].append(entry)
        out["groups"].append((group["name"], one))
    out["groups"] = [one for _, one in sorted(out["groups"], key=lambda g: g[0])]
    return out


def field_times(client, key, fields):
    """[[field, ms], ...] where the server has times to live of hash fields, else []."""
    try:
        times = client("HPEXPIRETIME", key, "FIELDS", len(fields), *fields) if fields else []
    except ReplyError:
        return []
    return [[text(f), at] for f, at in zip(fields, times) if at > 0]


def expire_time(client, key):
    """Unix time in ms, -1 for none. Before 7.0 there is no command that tells it exactly; the data
    sets for those logs use FAR only, and an RDB's own record overrides this."""
    try:
        return client("PEXPIRETIME", key)
    except ReplyError:
        left = client("PTTL", key)
        return FAR if left > 0 else -1


def key_record(client, db, key):
    kind = client("TYPE", key).decode()
    record = {"db": db, "key": text(key, is_key=True), "type": kind}
    try:
        record["encoding"] = client("OBJECT", "ENCODING", key).decode()
    except ReplyError:
        record["encoding"] = None
    record["pexpireat"] = expire_time(client, key)
    if kind == "string":
        record["value"] = text(client("GET", key))
    elif kind == "list":
        record["value"] = [text(x) for x in client("LRANGE", key, 0, -1)]
    elif kind == "set":
        record["value"] = [text(x) for x in sorted(client("SMEMBERS", key))]
    elif kind == "hash":
        flat = client("HGETALL", key)
        items = sorted(zip(flat[::2], flat[1::2]))
        record["value"] = [[text(f), text(v)] for f, v in items]
        times = field_times(client, key, [f for f, _ in items])
        if times:
            record["field_pexpireat"] = times
    elif kind == "zset":
        flat = client("ZRANGE", key, 0, -1, "WITHSCORES")
        record["value"] = [[text(m), score(s)] for m, s in zip(flat[::2], flat[1::2])]
    elif kind == "stream":
        record["value"] = stream(client, key)
    # Else a module's: only the file tells, and `with_file_facts` writes it down.
    return record


def contents(client):
    """{(db, key): record}; function libraries have db -1."""
    out = {}
    try:
        libraries = client("FUNCTION", "LIST", "WITHCODE")
    except ReplyError:
        libraries = []
    for reply in libraries:
        library = pairs(reply)
        names = sorted(pairs(f)["name"].decode() for f in library["functions"])
        out[-1, library["library_name"]] = {
            "db": -1, "key": text(library["library_name"]), "type": "function",
            "engine": library["engine"].decode(), "functions": names,
            "value": text(library["library_code"])}
    for db in range(16):
        try:
            client("SELECT", db)
        except ReplyError:
            break
        for key in client("KEYS", "*"):
            out[db, key] = key_record(client, db, key)
    client("SELECT", 0)
    return out


ORDER = ["db", "key", "type", "engine", "functions", "encoding", "rdb_type", "string_form",
         "pexpireat", "idle", "freq", "expired", "value", "field_pexpireat"]


def write(path, records):
    """Writes the records sorted by db and key, their members in one order."""
    with open(path, "w", encoding="ascii") as file:
        for where in sorted(records):
            record = records[where]
            file.write(line({name: record[name] for name in ORDER if name in record}) + "\n")


def with_file_facts(records, reader):
    """Adds what only the file tells: the type byte, the string form, idle and freq; and the keys
    that are in the file and not in the server."""
    for entry in reader.records():
        where = entry["db"], entry["key"]
        record = records.setdefault(where, {
            "db": entry["db"], "key": text(entry["key"], is_key=True), "type": None, "encoding": None,
            "pexpireat": entry["expire"], "expired": True, "value": None})
        record["rdb_type"] = entry["type"]
        record["pexpireat"] = entry["expire"]
        if entry["type"] == 0 and not record.get("expired"):
            record["string_form"] = entry["value"][1]
        if entry["type"] == 7:
            identity, pieces = entry["value"]
            values = [text(piece) if isinstance(piece, bytes) else piece for piece in pieces]
            record["value"] = {"module_id": identity, "values": values}
        for name in ("idle", "freq"):
            if entry[name] is not None:
                record[name] = entry[name]
    return records


def unsteady(first, second):
    """Replaces times that differ between two loads of one log by null, in place in `first`."""
    def walk(a, b):
        if isinstance(a, dict):
            for name in a:
                if name in ("seen_time", "active_time") and a[name] != b[name]:
                    a[name] = None
                else:
                    walk(a[name], b[name])
        elif isinstance(a, list):
            for x, y in zip(a, b):
                walk(x, y)
    walk(first, second)
    return first
