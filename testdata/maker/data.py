"""The data sets: small, and between them every type and encoding that the server writes.

Every time to live is absolute and far ahead (the year 2100), every stream id and delivery time is
given, so that the files stay valid and two runs differ only in hash order and creation time.
"""
import random

from maker.resp import ReplyError

FAR = 4_102_444_800_000
BINARY = bytes(range(256))
CORNERS = [0, 1, -1, 12, 63, 64, 127, 128, -128, -129, 255, 256, 4095, 4096, -4096, -4097, 32767, 32768,
           -32768, -32769, 8388607, 8388608, -8388608, -8388609, 2147483647, 2147483648, -2147483648,
           -2147483649, 9223372036854775807, -9223372036854775808]
LIBRARY = b"""#!lua name=%s
%s.register_function('%s_get', function(keys, args)
  return %s.call('get', keys[1])
end)
%s.register_function{function_name='%s_one', callback=function() return 1 end, flags={'no-writes'}, description='one \xe2\x82\xac'}
"""


def library(name):
    api = b"redis"
    return LIBRARY % (name, api, name, api, api, name)


def has(client, command):
    return client("COMMAND", "INFO", command)[0] is not None


def try_(client, *args):
    """A command that only some versions know."""
    try:
        return client(*args)
    except ReplyError:
        return None


def strings(client, long_values):
    noise = random.Random(7).randbytes(100)
    for value in CORNERS:
        client("SET", f"int:{value}", value)
    for name, value in {
        "empty": b"", "one": b"x", "raw": b"hello", "spaces": b"  \t\r\n ", "plus": b"+1", "zero-led": b"007",
        "minus-zero": b"-0", "beyond-i64": b"9223372036854775808", "float": b"3.14", "embstr-44": b"e" * 44,
        "raw-45": noise[:45], "len-63": noise[:63], "len-64": noise[:64], "all-bytes": BINARY, "noise": noise,
        "lzf": b"abc" * 60, "lzf-text": b" ".join(b"word%d" % (i % 11) for i in range(200)),
        "lzf-one-byte": b"a" * 300, "utf8": "Grüße, 世界".encode(),
    }.items():
        client("SET", f"str:{name}", value)
    client("SET", b"", "the empty key")
    client("SET", "12345", "an integer as a key")
    client("SET", b"bin\x00\xff\r\n", b"bin\x00\xff\r\n")
    client("SET", b"long-key:" + b"k" * 120, "a key that compresses")
    client("SET", "str:ttl", "v")
    client("PEXPIREAT", "str:ttl", FAR + 1)
    client("SETBIT", "str:bits", 100, 1)
    client("PFADD", "str:hll", *[f"e{i}" for i in range(20)])
    client("INCRBYFLOAT", "str:incrbyfloat", "10.5")
    if long_values:
        client("SET", "str:long", b"0123456789" * 2000)
        client("SET", "str:32-bit-length", b"z" * 17000)


def lists(client, version):
    client("RPUSH", "list:one", "a")
    client("RPUSH", "list:ints", *CORNERS)
    client("RPUSH", "list:mixed", "", "a", "12", "-7", "x" * 63, "y" * 64, BINARY, "0x10", "1e3")
    size = "list-max-listpack-size" if version >= (7,) else "list-max-ziplist-size"
    client("CONFIG", "SET", size, "3")
    client("RPUSH", "list:nodes", *[f"item:{i}" for i in range(10)])
    if version >= (7,):
        # A new list is one listpack until it is over the size; only then can a node be plain.
        client("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "100b")
        for element in ("a", "b", "c", "d", "p" * 150, "after", BINARY, "q" * 101):
            client("RPUSH", "list:plain", element)
        for i in range(5):
            client("RPUSH", "list:mostly-plain", "%d" % i + "r" * 200)
        client("LTRIM", "list:mostly-plain", 1, -2)
        client("DEBUG", "QUICKLIST-PACKED-THRESHOLD", "0")
    client("CONFIG", "SET", size, "-2")
    client("RPUSH", "list:ttl", "a", "b")
    client("PEXPIREAT", "list:ttl", FAR + 2)


def sets(client):
    client("SADD", "set:int16", 3, -1, 2, 32767, -32768)
    client("SADD", "set:int32", 1, 70000, -70000, 2147483647)
    client("SADD", "set:int64", 1, 2**40, -2**63, 2**63 - 1)
    client("SADD", "set:strings", "a", "bb", "12", "", BINARY[:40])
    client("SADD", "set:hashtable", "short", "l" * 65, BINARY)
    client("SADD", "set:one", "x")
    client("SADD", "set:ttl", "a")
    client("PEXPIREAT", "set:ttl", FAR + 3)


def hashes(client):
    client("HSET", "hash:listpack", "f", "v", "n", "12", "12", "n", "", "empty field", "empty", "")
    client("HSET", "hash:ints", *[x for value in CORNERS for x in (f"c{value}", value)])
    client("HSET", "hash:binary", BINARY[:30], BINARY[30:64], b"\x00", b"\xff")
    client("HSET", "hash:hashtable", "f", "v" * 65, "12", "34", BINARY, BINARY)
    client("HSET", "hash:ttl", "a", "1")
    client("PEXPIREAT", "hash:ttl", FAR + 4)
    if not has(client, "HPEXPIREAT"):
        return
    client("HSET", "hash:fields-ttl", "a", "1", "b", "2", "c", "3", "12", "-7")
    client("HPEXPIREAT", "hash:fields-ttl", FAR + 50, "FIELDS", 2, "a", "12")
    client("HPEXPIREAT", "hash:fields-ttl", FAR + 10, "FIELDS", 1, "c")
    client("HSET", "hash:fields-ttl-all", *[x for i in range(6) for x in (f"f{i}", i)])
    client("HPEXPIREAT", "hash:fields-ttl-all", FAR + 7, "FIELDS", 6, *[f"f{i}" for i in range(6)])
    client("HSET", "hash:fields-ttl-hashtable", "long", "w" * 70, "a", "1", BINARY[:20], BINARY[:5])
    client("HPEXPIREAT", "hash:fields-ttl-hashtable", FAR + 123_456_789, "FIELDS", 1, "a")
    client("HPEXPIREAT", "hash:fields-ttl-hashtable", FAR, "FIELDS", 1, BINARY[:20])
    client("HSET", "hash:fields-and-key-ttl", "a", "1", "b", "2")
    client("HPEXPIREAT", "hash:fields-and-key-ttl", FAR + 6, "FIELDS", 1, "b")
    client("PEXPIREAT", "hash:fields-and-key-ttl", FAR + 60)
    client("HSET", "hash:fields-ttl-removed", "a", "1", "b", "2")
    client("HPEXPIREAT", "hash:fields-ttl-removed", FAR, "FIELDS", 1, "a")
    client("HPERSIST", "hash:fields-ttl-removed", "FIELDS", 1, "a")


def zsets(client):
    client("ZADD", "zset:listpack", "1", "one", "1", "uno", "2.5", "two and a half", "-3", "minus", "0", "")
    scores = ["inf", "-inf", "0.1", "-0.1", "1e300", "-1e-300", "5e-324", "3.0000000000000004",
              "9007199254740992", "9007199254740993", "1e17", "123456789012345680000", "0.30000000000000004"]
    client("ZADD", "zset:scores", *[x for i, s in enumerate(scores) for x in (s, f"m{i}")])
    client("ZADD", "zset:skiplist", *[x for i, s in enumerate(scores) for x in (s, f"m{i}")], 7, "l" * 65)
    client("ZADD", "zset:ints", *[x for i, v in enumerate(CORNERS) for x in (i, v)])
    client("GEOADD", "zset:geo", "13.361389", "38.115556", "Palermo", "15.087269", "37.502669", "Catania")
    client("ZADD", "zset:ttl", 1, "a")
    client("PEXPIREAT", "zset:ttl", FAR + 5)


def streams(client, version):
    seven = version >= (7,)
    client("XADD", "stream:one", "1-1", "f", "v")
    client("CONFIG", "SET", "stream-node-max-entries", "4")
    for i in range(1, 11):
        client("XADD", "stream:nodes", f"{i}-0", "temp", i * 7, "unit", "C")
    client("XADD", "stream:nodes", "10-5", "other", "fields", "here", "", BINARY[:9], b"\xff")
    client("XDEL", "stream:nodes", "3-0", "10-0")
    client("CONFIG", "SET", "stream-node-max-entries", "100")
    for i in range(1, 9):
        client("XADD", "stream:trimmed", f"{i}-{i}", "i", i)
    client("XTRIM", "stream:trimmed", "MAXLEN", 3)
    client("XADD", "stream:emptied", "77-7", "a", "b")
    client("XDEL", "stream:emptied", "77-7")
    client("XGROUP", "CREATE", "stream:no-entries", "g", "$", "MKSTREAM")
    client("XADD", "stream:far", f"{FAR}-0", "a", "b")
    client("XADD", "stream:far", "18446744073709551615-18446744073709551614", "c", "d")
    client("XADD", "stream:ttl", "5-5", "a", "b")
    client("PEXPIREAT", "stream:ttl", FAR + 6)
    for i in range(1, 11):
        client("XADD", "stream:groups", f"{i}-0", "n", i)
    client("XGROUP", "CREATE", "stream:groups", "fresh", "0")
    client("XGROUP", "CREATE", "stream:groups", "g1", "0")
    client("XGROUP", "CREATE", "stream:groups", b"bin\x00\xff", "4-0")
    if seven:
        client("XGROUP", "CREATE", "stream:groups", "counted", "6-0", "ENTRIESREAD", "6")
        client("XGROUP", "CREATECONSUMER", "stream:groups", "g1", "idle")
    client("XREADGROUP", "GROUP", "g1", "alice", "COUNT", 3, "STREAMS", "stream:groups", ">")
    client("XREADGROUP", "GROUP", "g1", "bob", "COUNT", 4, "STREAMS", "stream:groups", ">")
    client("XREADGROUP", "GROUP", b"bin\x00\xff", b"c\x00", "STREAMS", "stream:groups", ">")
    client("XACK", "stream:groups", "g1", "2-0", "5-0")
    client("XCLAIM", "stream:groups", "g1", "carol", 0, "1-0", "TIME", 1_500_000_000_123, "RETRYCOUNT", 7)
    client("XCLAIM", "stream:groups", "g1", "bob", 0, "6-0", "TIME", 1_600_000_000_456, "RETRYCOUNT", 70000)
    client("XDEL", "stream:groups", "7-0")


def functions(client):
    for name in (b"lib", b"other"):
        try_(client, "FUNCTION", "LOAD", library(name))


def all_types(client, version, long_values=True):
    functions(client)
    strings(client, long_values)
    lists(client, version)
    sets(client)
    hashes(client)
    zsets(client)
    streams(client, version)
    for db in (1, 9, 15):
        client("SELECT", db)
        client("SET", f"db:{db}", db)
        client("SADD", "same-name", db)
    client("SELECT", 0)


def few(client):
    """One of each, for the files that are about something else."""
    client("SET", "s", "v")
    client("SET", "n", 42)
    client("SET", "ttl", "t", "PX", 1000)
    client("PEXPIREAT", "ttl", FAR)
    client("RPUSH", "l", "a", "b")
    client("SADD", "set", "x", "y")
    client("HSET", "h", "f", "v")
    client("ZADD", "z", "1.5", "m")
    client("SET", "noise", random.Random(8).randbytes(90))
    client("XADD", "x", "1-1", "f", "v")
    client("XGROUP", "CREATE", "x", "g", "0")
    client("XREADGROUP", "GROUP", "g", "c", "STREAMS", "x", ">")


def log_writes(client, version):
    """Writes of many kinds, as they come into a log."""
    client("SET", "w:counter", 10)
    for _ in range(3):
        client("INCR", "w:counter")
    client("INCRBYFLOAT", "w:float", "0.1")
    client("APPEND", "w:append", "abc")
    client("SETRANGE", "w:append", 5, "xyz")
    client("SET", "w:ttl", "v")
    client("PEXPIREAT", "w:ttl", FAR)
    client("RPUSH", "w:list", "a", "b", "c", "d")
    client("LPOP", "w:list")
    client("LINSERT", "w:list", "BEFORE", "c", "between")
    client("LSET", "w:list", 0, b"\x00\r\n")
    client("HSET", "w:hash", "f", "1", "g", "2")
    client("HINCRBY", "w:hash", "f", 41)
    client("HDEL", "w:hash", "g")
    client("SADD", "w:set", "a", "b", "c")
    client("SMOVE", "w:set", "w:set2", "b")
    client("SPOP", "w:set")
    client("ZADD", "w:zset", 1, "a", 2, "b", 3, "c")
    client("ZINCRBY", "w:zset", "0.5", "b")
    client("ZPOPMIN", "w:zset")
    client("XADD", "w:stream", "1-1", "f", "v")
    client("XADD", "w:stream", "2-1", "f", b"\x00\xff")
    client("XGROUP", "CREATE", "w:stream", "g", "0")
    client("XREADGROUP", "GROUP", "g", "c", "COUNT", 1, "STREAMS", "w:stream", ">")
    client("XCLAIM", "w:stream", "g", "d", 0, "1-1", "TIME", 1_500_000_000_000, "RETRYCOUNT", 3)
    client("MULTI")
    client("SET", "w:tx", "1")
    client("RENAME", "w:tx", "w:tx-renamed")
    client("EXEC")
    client("EVAL", "redis.call('set', KEYS[1], ARGV[1]); redis.call('incr', KEYS[1]); return 1", 1, "w:script", 5)
    if version >= (7,):
        try_(client, "FUNCTION", "LOAD", library(b"logged"))
    client("SELECT", 3)
    client("SET", "w:db3", "three")
    client("COPY", "w:db3", "w:copy", "DB", 4) if version >= (6, 2) else client("SET", "w:copy", "three")
    client("MOVE", "w:db3", 5)
    client("SELECT", 0)
    client("DEL", "w:set2")
    client("UNLINK", "w:float")


def scripts(client):
    """Scripts that are logged as they were sent, whose effect hangs on more than their words."""
    words = random.Random(9)
    members = [f"{words.randrange(10 ** 9)}" for _ in range(300)] + ["", "a b", "\n"]
    client("SADD", "s:in", *members)
    client("SADD", "s:some", *members[::2], "z", "100", "20", "3")
    client("SADD", "s:ints", *range(90, 130))
    client("HSET", "s:hash", *[word for member in members for word in (member, member[::-1])])

    def first(command, to):
        client("EVAL", "local all = redis.call(ARGV[1], unpack(KEYS, 2)) redis.call('set', KEYS[1], all[1]) "
               "redis.call('rpush', KEYS[1] .. ':all', all[2], all[#all], #all)", 1 + len(to), f"s:to:{command}",
               *to, command)

    for command in ("SMEMBERS", "HKEYS", "HVALS"):
        first(command, ["s:hash" if command[0] == "H" else "s:in"])
    for command in ("SINTER", "SUNION", "SDIFF"):
        first(command, ["s:in", "s:some"])
    first("KEYS", ["s:[ih]*"])
    client("EVAL", "redis.call('set', KEYS[1], redis.call('smembers', KEYS[2])[1])", 2, "s:least", "s:ints")
    client("EVAL", "redis.call('rpush', KEYS[2], unpack(redis.call('sort', KEYS[1], 'by', 'nosort')))", 2, "s:ints",
           "s:sorted")
    # Random numbers begin anew with each script.
    for key in ("s:random", "s:random:again"):
        client("EVAL", "redis.call('rpush', KEYS[1], math.random(1000), math.random(1000), tostring(math.random()))",
               1, key)
    client("EVAL", "math.randomseed(ARGV[1]) redis.call('set', KEYS[1], math.random(10000))", 1, "s:seeded", 7)
    # Known by SCRIPT LOAD or by an EVAL before.
    sha = client("SCRIPT", "LOAD", "return redis.call('incrby', KEYS[1], ARGV[1])").decode()
    for by in (1, 20, 300):
        client("EVALSHA", sha.upper() if by == 20 else sha, 1, "s:sum", by)
    client("MULTI")
    client("SET", "s:tx", 1)
    client("EVALSHA", sha, 1, "s:tx", 4)
    client("EVAL", "redis.call('append', KEYS[1], 6)", 1, "s:tx")
    client("EXEC")
    # What was done before an error stays done; what scripts cannot do there is an error.
    failing = ("redis.call('set', KEYS[1], 1) error('enough')",
               "redis.call('set', KEYS[1], 1) redis.call('lpush', KEYS[1], 1) redis.call('set', KEYS[1], 2)",
               "redis.call('set', KEYS[1], 1) redis.call('time') redis.call('set', KEYS[1], 2)",
               "redis.call('set', KEYS[1], 1) redis.call('srandmember', 's:in') redis.call('set', KEYS[1], 2)",
               "redis.call('set', KEYS[1], 1) redis.call('blpop', 'no', 1) redis.call('set', KEYS[1], 2)",
               "redis.call('set', KEYS[1], 1) redis.set_repl(redis.REPL_ALL) redis.call('set', KEYS[1], 2)",
               "redis.call('set', KEYS[1], 1) redis.call('multi') redis.call('set', KEYS[1], 2)")
    for i, text in enumerate(failing):
        try_(client, "EVAL", text, 1, f"s:failing:{i}")
    client("EVAL", "redis.call('set', KEYS[1], 1) print('x') "
           "redis.call('set', KEYS[1], tostring(redis.replicate_commands()))", 1, "s:replicate")
    client("EVAL", "local r = redis.pcall('lpush', KEYS[1], 1) redis.call('set', KEYS[2], r.err and 'an error' or '')",
           2, "s:in", "s:pcall")
    client("EVAL", "redis.call('rpush', KEYS[1], cjson.encode({1, 2, {a = 'b'}}), tostring(struct.pack('>I4', 7)), "
           "bit.tohex(255), redis.sha1hex('x'), 3.0, 1e15, 0.1, tostring(1 / 3))", 1, "s:libraries")
    client("EVAL", "redis.call('select', 7) redis.call('set', KEYS[1], 1)", 1, "s:db7")
    client("SET", "s:db0", 1)
    client("SET", "s:expires", 1)
    client("PEXPIREAT", "s:expires", FAR)
    client("EVAL", "if redis.call('exists', KEYS[1]) == 1 then redis.call('persist', KEYS[1]) end", 1, "s:expires")
    client("SCRIPT", "FLUSH")
    client("EVAL", "redis.call('set', KEYS[1], 'after the flush')", 1, "s:flushed")


def scripts_since_five(client):
    """Before Redis 5.0 a script could write after these."""
    for command in ("ttl", "hgetall"):
        try_(client, "EVAL", "redis.call('set', KEYS[1], 1) redis.call(ARGV[1], 's:hash') redis.call('set', KEYS[1], 2)",
             1, f"s:after:{command}", command)
