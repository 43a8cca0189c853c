#!/bin/sh
# Makes the files of the cookbooks: make.sh REDIS_8 REDIS_7 (paths of redis-server 8.0 and 7.0; redis-cli in the path).
set -eu
cd "$(dirname "$0")"
fill() {
    cat <<'COMMANDS'
SET user:1:name "Ada"
SET user:2:name "Grace"
HSET user:1 name Ada mail ada@example.org visits 12
HSET user:2 name Grace mail grace@example.org visits 7
HSET session:9f2 user 1 token 7d1f3
HEXPIREAT session:9f2 4102444800 FIELDS 1 token
SET cache:home "<html>hello</html>" PXAT 4102444800000
RPUSH orders:1 1001 1002 1003
SADD tags:1001 book gift
ZADD bestsellers 12 book 7 lamp 3.5 chair
XADD events 1-1 user 1 did login
XADD events 2-1 user 2 did order
COMMANDS
}
work=$(mktemp -d)
"$1" --bind 127.0.0.1 --port 29101 --save '' --dir "$work" >/dev/null & server=$!
sleep 1
fill | redis-cli -p 29101 >/dev/null
redis-cli -p 29101 save >/dev/null
kill "$server"
mv "$work/dump.rdb" shop.rdb

"$2" --bind 127.0.0.1 --port 29102 --save '' --dir "$work" --appendonly yes --aof-timestamp-enabled yes \
    --appendfsync always >/dev/null & server=$!
sleep 1
fill | grep -v HEXPIREAT | redis-cli -p 29102 >/dev/null
sleep 1.1
redis-cli -p 29102 set user:3:name Edsger >/dev/null
redis-cli -p 29102 del cache:home >/dev/null
sleep 1.1
redis-cli -p 29102 flushall >/dev/null
redis-cli -p 29102 set oops 1 >/dev/null
kill -9 "$server"
rm -rf appendonlydir
mv "$work/appendonlydir" .
rm -r "$work"

# The byte before the mail of user:1, and an end in the middle of a command.
python3 - <<'DAMAGE'
data = bytearray(open("shop.rdb", "rb").read())
data[data.index(b"ada@example.org") - 1] ^= 0x7f
open("damaged.rdb", "wb").write(data)
DAMAGE
head -c 960 appendonlydir/appendonly.aof.1.incr.aof > torn.aof
