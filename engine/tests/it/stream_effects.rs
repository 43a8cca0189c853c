//! What stream commands tell besides their replies: changed keys, events, log. The time is 1 ms.
//!
//! Witness: Valkey 9.1 with `notify-keyspace-events KEAn` and its append-only file, compared line by line
//! for some 20,000 random calls.

use crate::zset_effects::check;

#[test]
fn entries_come_and_go() {
    check(
        "XADD x * f v => new x, xadd x, *x, > XADD x 1-0 f v
         XADD x 5-* f v => xadd x, *x, > XADD x 5-0 f v
         XADD x 6-1 f v => xadd x, *x, > XADD x 6-1 f v
         XADD x 6-1 f v =>
         XADD none NOMKSTREAM * f v =>
         XADD x MAXLEN 2 7-0 f v => xadd x, xtrim x, *x, > XADD x MAXLEN 2 7-0 f v
         XADD x MAXLEN ~ 1 LIMIT 5 8-0 f v => xadd x, *x, > XADD x MAXLEN = 3 LIMIT 5 8-0 f v
         XADD x MINID ~ 7 9-* f v => xadd x, *x, > XADD x MINID = 1-0 9-0 f v
         XDEL x 1-0 =>
         XDEL x 8-0 9-0 1-0 => *x, xdel x, > XDEL x 8-0 9-0 1-0
         XTRIM x MAXLEN ~ 0 => xtrim x, *x, > XTRIM x MAXLEN = 0
         XTRIM x MAXLEN ~ 0 =>
         XADD y 1-0 f v => new y, xadd y, *y, > XADD y 1-0 f v
         XTRIM y MINID ~ 9 LIMIT 0 => xtrim y, *y, > XTRIM y MINID = 18446744073709551615-18446744073709551615 LIMIT 0
         XSETID y 3-0 => xsetid y, > XSETID y 3-0",
    );
}

#[test]
fn groups_and_consumers() {
    check(
        "XGROUP CREATE x g $ =>
         XGROUP CREATE x g $ MKSTREAM => new x, *x, xgroup-create x, > XGROUP CREATE x g $ MKSTREAM
         XGROUP CREATE x g $ =>
         XGROUP CREATE x h 0 => xgroup-create x, > XGROUP CREATE x h 0
         XGROUP SETID x g 5 => xgroup-setid x, > XGROUP SETID x g 5
         XGROUP CREATECONSUMER x g c => xgroup-createconsumer x, > XGROUP CREATECONSUMER x g c
         XGROUP CREATECONSUMER x g c =>
         XGROUP DELCONSUMER x g none =>
         XGROUP DELCONSUMER x g c => xgroup-delconsumer x, > XGROUP DELCONSUMER x g c
         XGROUP DESTROY x none =>
         XGROUP DESTROY x h => xgroup-destroy x, !x, > XGROUP DESTROY x h",
    );
}

#[test]
fn reading_and_claiming() {
    check(
        "XADD x 1-0 f v => new x, xadd x, *x, > XADD x 1-0 f v
         XADD x 2-0 f v => xadd x, *x, > XADD x 2-0 f v
         XREAD BLOCK 0 STREAMS x 0 =>
         XREAD BLOCK 0 STREAMS x $ => waits
         XGROUP CREATE x g 0 => xgroup-create x, > XGROUP CREATE x g 0
         XREADGROUP GROUP g a COUNT 1 STREAMS x > => xgroup-createconsumer x, > XCLAIM x g a 0 1-0 TIME 1 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0, > XGROUP SETID x g 1-0 ENTRIESREAD 1
         XREADGROUP GROUP g a STREAMS x 0 =>
         XREADGROUP GROUP g b NOACK STREAMS x > => xgroup-createconsumer x, > XGROUP CREATECONSUMER x g b, > XGROUP SETID x g 2-0 ENTRIESREAD 2
         XREADGROUP GROUP g c BLOCK 5 STREAMS x > => xgroup-createconsumer x, waits
         XREADGROUP GROUP g c CLAIM 0 STREAMS x > => > XCLAIM x g c 0 1-0 TIME 1 RETRYCOUNT 3 FORCE JUSTID LASTID 2-0
         XCLAIM x g d 0 1-0 2-0 => xgroup-createconsumer x, > XCLAIM x g d 0 1-0 TIME 1 RETRYCOUNT 4 FORCE JUSTID LASTID 2-0
         XCLAIM x g d 0 9-0 LASTID 5-0 => > XGROUP SETID x g 5-0 ENTRIESREAD 2
         XCLAIM x g d 0 9-0 =>
         XAUTOCLAIM x g d 0 - JUSTID => > XCLAIM x g d 0 1-0 TIME 1 RETRYCOUNT 4 FORCE JUSTID LASTID 5-0
         XDEL x 1-0 => *x, xdel x, > XDEL x 1-0
         XAUTOCLAIM x g a 0 - => > XCLAIM x g d 0 1-0 TIME 1 RETRYCOUNT 4 FORCE JUSTID LASTID 5-0
         XACK x g 1-0 =>
         XCLAIM x g d 0 2-0 FORCE JUSTID => > XCLAIM x g d 0 2-0 TIME 1 RETRYCOUNT 1 FORCE JUSTID LASTID 5-0
         XACK x g 1-0 2-0 => > XACK x g 1-0 2-0",
    );
}

#[test]
fn removing_with_a_view_to_groups() {
    check(
        "XADD x 1-0 f v => new x, xadd x, *x, > XADD x 1-0 f v
         XADD x 2-0 f v => xadd x, *x, > XADD x 2-0 f v
         XGROUP CREATE x g 0 => xgroup-create x, > XGROUP CREATE x g 0
         XREADGROUP GROUP g a COUNT 1 STREAMS x > => xgroup-createconsumer x, > XCLAIM x g a 0 1-0 TIME 1 RETRYCOUNT 1 FORCE JUSTID LASTID 1-0, > XGROUP SETID x g 1-0 ENTRIESREAD 1
         XDELEX x ACKED IDS 2 1-0 2-0 =>
         XTRIM x MINID ~ 9 ACKED =>
         XDEL x 1-0 => *x, xdel x, > XDEL x 1-0
         XDELEX x DELREF IDS 1 1-0 => > XDELEX x DELREF IDS 1 1-0
         XDELEX x DELREF IDS 1 1-0 =>
         XREADGROUP GROUP g a COUNT 1 STREAMS x > => > XCLAIM x g a 0 2-0 TIME 1 RETRYCOUNT 1 FORCE JUSTID LASTID 2-0, > XGROUP SETID x g 2-0 ENTRIESREAD 2
         XADD x ACKED MINID ~ 9 3-0 f v => xadd x, *x, > XADD x ACKED MINID = 9-0 3-0 f v
         XACKDEL x g IDS 1 2-0 => *x, xdel x, > XACKDEL x g IDS 1 2-0
         XACKDEL x g IDS 1 2-0 =>",
    );
}
