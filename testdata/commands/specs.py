#!/usr/bin/env python3
"""Writes specs.tsv: what a real server says of its commands.

usage: specs.py VALKEY_PORT REDIS_PORT NAME... > specs.tsv
       specs.py VALKEY_PORT tips NAME... > tips.tsv
       specs.py VALKEY_PORT docs NAME... > docs.tsv

Arity, flags, categories and keys are those of COMMAND INFO of the first server; `since` is that of
COMMAND DOCS of the second, because Redis had every one of these commands first. Lines where the two
servers do not agree on the rest are reported on stderr.
"""
import socket
import sys


class Client:
    def __init__(self, port):
        self.file = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
        self.call("HELLO", "3")

    def call(self, *words):
        parts = [b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words]
        self.file.write(b"*%d\r\n" % len(words) + b"".join(parts))
        self.file.flush()
        return self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:].decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"%":
            return {self.read(): self.read() for _ in range(int(rest))}
        if kind in b"*~":
            return [self.read() for _ in range(int(rest))]
        return rest


def keys(specs):
    """MODE+effect...@where:how, for each group of keys."""
    shown = []
    for spec in specs:
        hints = ("variable_flags", "incomplete", "not_key")
        flags = "+".join(f for f in spec["flags"] if f not in hints)
        begin, find = spec["begin_search"], spec["find_keys"]
        where = ":".join(str(v) for v in begin["spec"].values())
        how = ":".join(str(v) for v in find["spec"].values())
        shown.append(f"{flags}@{begin['type']}:{where}@{find['type']}:{how}")
    return " ".join(shown) or "-"


def table(port):
    client, found = Client(port), {}
    docs = client.call("COMMAND", "DOCS")

    def add(info, doc):
        flags = sorted(f for f in info[2] if f != "movablekeys")
        categories = sorted(c[1:] for c in info[6])
        row = [str(info[1]), ",".join(flags) or "-", ",".join(categories), keys(info[8])]
        found[info[0]] = (row, doc.get("since", "-"))
        for sub in info[9]:
            add(sub, doc["subcommands"][sub[0]])

    for info in client.call("COMMAND"):
        add(info, docs[info[0]])
    return found


def tips(port):
    """Name and tips of the commands that have some, subcommands too."""
    found = {}

    def add(info):
        found[info[0]] = info[7]
        for sub in info[9]:
            add(sub)

    for info in Client(port).call("COMMAND"):
        add(info)
    return found


def argument(facts):
    """name~text:type=TOKEN#group?*+@since!deprecated(arguments), of what there is."""
    text = facts["name"]
    if facts.get("display_text", text) != text:
        text += "~" + facts["display_text"]
    text += ":" + facts["type"]
    for mark, fact in (("=", "token"), ("#", "key_spec_index")):
        if fact in facts:
            text += mark + (str(facts[fact]) or "''")
    for mark, flag in (("?", "optional"), ("*", "multiple"), ("+", "multiple_token")):
        text += mark if flag in facts.get("flags", []) else ""
    for mark, fact in (("@", "since"), ("!", "deprecated_since")):
        text += mark + facts[fact] if fact in facts else ""
    inner = facts.get("arguments")
    return text + (f"({' '.join(map(argument, inner))})" if inner else "")


def docs(port, names):
    """What COMMAND DOCS tells of commands, subcommands too, but for its prose."""
    rows = []

    def add(name, doc):
        marks = ",".join(doc.get("doc_flags", [])) or "-"
        replaced = f"{doc['deprecated_since']} {doc['replaced_by']}" if "replaced_by" in doc else "-"
        versions = ",".join(sorted(version for version, _ in doc.get("history", []))) or "-"
        arguments = " ".join(map(argument, doc.get("arguments", []))) or "-"
        rows.append("\t".join([name, marks, replaced, versions, arguments]))
        for sub, facts in doc.get("subcommands", {}).items():
            add(sub, facts)

    for name, doc in Client(port).call("COMMAND", "DOCS", *names).items():
        add(name, doc)
    return sorted(rows)


def main():
    if sys.argv[2] == "docs":
        print("# name\tdoc flags\tdeprecated since, and replaced by\thistory\targuments")
        print("\n".join(docs(int(sys.argv[1]), sys.argv[3:])))
        return
    if sys.argv[2] == "tips":
        found = tips(int(sys.argv[1]))
        names = [n for n in sorted(found) if n.split("|")[0] in sys.argv[3:] and found[n]]
        print("\n".join(f"{name}\t{' '.join(found[name])}" for name in names))
        return
    valkey, redis = table(int(sys.argv[1])), table(int(sys.argv[2]))
    print("# name\tsince\tarity\tflags\tcategories\tkeys")
    for name in sorted(sys.argv[3:]):
        if name not in valkey or name not in redis:
            print(f"{name}: not known to both", file=sys.stderr)
            continue
        (row, _), (other, since) = valkey[name], redis[name]
        if row != other:
            print(f"{name}: {row} but {other}", file=sys.stderr)
        print("\t".join([name, since, *row]))


main()
