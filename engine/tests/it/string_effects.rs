//! What commands on strings, bitmaps, keys and expiries tell besides their replies: changed keys, events,
//! log.
//!
//! Witness: Valkey 9.1 with `notify-keyspace-events KEAn` and its stream to a replica.

use super::zset_effects::check;

#[test]
fn setting() {
    check(
        "SET k v => new k, *k, set k, > SET k v
         SET k w => *k, set k, > SET k w
         SET k v NX =>
         SET k v XX GET => *k, set k, > SET k v XX
         SET k get IFEQ v GET => *k, set k, > SET k get IFEQ v
         SET k v GET IFEQ get KEEPTTL => *k, set k, > SET k v IFEQ get KEEPTTL
         SET k v IFDNE b6acb9d84a38ff74 => *k, set k, > SET k v IFDNE b6acb9d84a38ff74
         SET k v EX 10 => *k, set k, expire k, > SET k v PXAT 10001
         SET k v XX GET PX 10 => *k, set k, expire k, > SET k v PXAT 11
         SET k v PXAT 5 NX =>
         SET k v PXAT 5 XX => *k, set k, expire k, > SET k v PXAT 5 XX
         SETEX k 10 v => *k, set k, expire k, > SET k v PXAT 10001
         PSETEX k 10 v => *k, set k, expire k, > SET k v PXAT 11
         SET k v PXAT 1 => *k, expired k, > UNLINK k
         SET k v PXAT 1 =>
         SETNX k v => new k, *k, set k, > SETNX k v
         SETNX k v =>
         GETSET k w => *k, set k, > SET k w
         MSET k v j v => *k, set k, new j, *j, set j, > MSET k v j v
         MSETNX k v i v =>
         MSETNX i v i w => new i, *i, set i, *i, set i, > MSETNX i v i w
         MSETEX 1 k v => *k, set k, > MSETEX 1 k v
         MSETEX 2 k v j v XX EX 10 => *k, set k, expire k, *j, set j, expire j, > MSETEX 2 k v j v XX PXAT 10001
         MSETEX 1 k v EX 10 EX 20 XX => *k, set k, expire k, > MSETEX 1 k v PXAT 20001 XX
         MSETEX 1 k v PXAT 1 => *k, set k, expire k, > MSETEX 1 k v PXAT 1",
    );
}

#[test]
fn changing() {
    check(
        "APPEND k v => new k, *k, append k, > APPEND k v
         APPEND k w => *k, append k, > APPEND k w
         SETRANGE k 0 z => *k, setrange k, > SETRANGE k 0 z
         SETRANGE j 2 z => new j, *j, setrange j, > SETRANGE j 2 z
         INCR n => new n, *n, incrby n, > INCR n
         DECRBY n 5 => *n, incrby n, > DECRBY n 5
         INCRBYFLOAT n 0.5 => *n, incrbyfloat n, > SET n -3.5 KEEPTTL
         INCREX n BYFLOAT 0.5 => *n, incrbyfloat n, > SET n -3 KEEPTTL
         INCREX n UBOUND -3 =>
         INCREX n EX 10 => *n, incrby n, expire n, > SET n -2 PXAT 10001
         INCREX n EX 20 ENX => *n, incrby n, > SET n -1 KEEPTTL
         INCREX n PERSIST => *n, incrby n, persist n, > SET n 0
         INCREX n PXAT 1 => *n, del n, > UNLINK n
         INCREX n PXAT 1 =>
         SETBIT b 7 0 => new b, *b, setbit b, > SETBIT b 7 0
         SETBIT b 7 0 =>
         SETBIT b 7 1 => *b, setbit b, > SETBIT b 7 1
         BITFIELD b GET u8 0 =>
         BITFIELD b SET u8 0 1 =>
         BITFIELD b SET u8 0 2 INCRBY u8 0 1 => *b, setbit b, > BITFIELD b SET u8 0 2 INCRBY u8 0 1
         BITOP NOT r b => new r, *r, set r, > BITOP NOT r b
         BITOP NOT r none => *r, del r, > BITOP NOT r none
         BITOP NOT r none =>
         PFADD h => new h, *h, pfadd h, > PFADD h
         PFADD h =>
         PFADD h a b => *h, pfadd h, > PFADD h a b
         PFCOUNT h => *h, > PFCOUNT h
         PFCOUNT h =>
         PFMERGE g h => new g, *g, pfadd g, > PFMERGE g h
         PFDEBUG TODENSE g => *g, > PFDEBUG TODENSE g
         GETDEL k => *k, del k, > DEL k
         GETDEL k =>",
    );
}

#[test]
fn keys_and_times() {
    check(
        "SET k v => new k, *k, set k, > SET k v
         EXPIRE k 10 => *k, expire k, > PEXPIREAT k 10001
         EXPIRE k 20 GT => *k, expire k, > PEXPIREAT k 20001 GT
         EXPIRE k 10 GT =>
         PEXPIREAT k 500 LT => *k, expire k, > PEXPIREAT k 500 LT
         PERSIST k => *k, persist k, > PERSIST k
         PERSIST k =>
         GETEX k =>
         GETEX k PERSIST =>
         GETEX k EX 10 => *k, expire k, > PEXPIREAT k 10001
         GETEX k PERSIST => *k, persist k, > PERSIST k
         GETEX k PXAT 1 => *k, expired k, > UNLINK k
         SET k v => new k, *k, set k, > SET k v
         EXPIRE k -1 => *k, expired k, > UNLINK k
         EXPIRE k -1 =>
         MSET k v j w => new k, *k, set k, new j, *j, set j, > MSET k v j w
         RENAME k j => new j, *k, *j, rename_from k, rename_to j, > RENAME k j
         RENAME j j =>
         RENAMENX j j =>
         COPY j k => new k, *k, copy_to k, > COPY j k
         COPY j k =>
         COPY j k REPLACE => new k, *k, copy_to k, > COPY j k REPLACE
         DELIFEQ j v => *j, del j, > DEL j
         DELEX k IFNE v =>
         DELEX k => *k, del k, > DEL k
         MSET k v j w => new k, *k, set k, new j, *j, set j, > MSET k v j w
         DEL none =>
         UNLINK k none j => *k, del k, *j, del j, > UNLINK k none j
         RPUSH l b a => new l, *l, rpush l, > RPUSH l b a
         SORT l ALPHA STORE s => new s, *s, sortstore s, > SORT l ALPHA STORE s
         SORT none STORE s => *s, del s, > SORT none STORE s
         FLUSHDB => Flushed { db: 0 }, > FLUSHDB
         FLUSHDB => Flushed { db: 0 }, > FLUSHDB",
    );
}
