#!/usr/bin/env python3
"""Fills the server at 127.0.0.1:PORT with a thousand keys of all types and has it save them: make.py PORT.

redis-7.0.15-thousand.rdb here was written so by redis-server 7.0.15 with default settings. The same seed gives the
same keys; where streams and their groups keep times, and in the order of hashes and sets, files differ."""
import socket,random,sys
port=int(sys.argv[1])
s=socket.create_connection(("127.0.0.1",port)); f=s.makefile("rb")
def enc(*a):
    a=[x if isinstance(x,bytes) else str(x).encode() for x in a]
    return b"*%d\r\n"%len(a)+b"".join(b"$%d\r\n%s\r\n"%(len(x),x) for x in a)
cmds=[]
r=random.Random(42)
def word(n): return bytes(r.choice(b"abcdefghijklmnopqrstuvwxyz") for _ in range(n))
def binary(n): return bytes(r.randrange(256) for _ in range(n))
for i in range(1000):
    k="key:%04d"%i if i%3 else "user:%d:%s"%(i,word(5).decode())
    t=i%20
    if t==0: cmds.append(("SET",k,i*7-3000))
    elif t==1: cmds.append(("SET",k,word(r.randrange(1,60))))
    elif t==2: cmds.append(("SET",k,b"abcabcabc "*r.randrange(4,30)))
    elif t==3: cmds.append(("SET",k,binary(r.randrange(1,80))))
    elif t==4: cmds.append(("RPUSH",k)+tuple(word(r.randrange(1,8)) for _ in range(r.randrange(1,12))))
    elif t==5: cmds.append(("RPUSH",k)+tuple(range(i,i+r.randrange(1,20))))
    elif t==6: cmds.append(("SADD",k)+tuple(range(i,i+r.randrange(1,20))))
    elif t==7: cmds.append(("SADD",k)+tuple(word(6) for _ in range(r.randrange(1,10))))
    elif t==8: cmds.append(("SADD",k)+tuple(b"m%03d"%j for j in range(140 if i<200 else 5)))
    elif t==9:
        cmds.append(("HSET",k)+tuple(x for j in range(r.randrange(1,8)) for x in (word(4),word(r.randrange(1,12)))))
    elif t==10:
        cmds.append(("HSET",k)+tuple(x for j in range(520 if i==10 else 3) for x in (b"f%d"%j,word(8))))
    elif t==11: cmds.append(("HSET",k,"big",word(100),"n",i))
    elif t==12: cmds.append(("ZADD",k)+tuple(x for j in range(r.randrange(1,9)) for x in (j*1.5,word(5))))
    elif t==13: cmds.append(("ZADD",k)+tuple(x for j in range(140 if i==13 else 4) for x in (r.random(),b"z%d"%j)))
    elif t==14: cmds.append(("ZADD",k,1,word(70),2,"b"))
    elif t==15:
        for j in range(r.randrange(1,6)): cmds.append(("XADD",k,"%d-1"%(1700000000000+j),"f",word(5),"g",j))
    elif t==16:
        cmds.append(("XADD",k,"1700000000000-1","a","1")); cmds.append(("XGROUP","CREATE",k,"grp","0")); cmds.append(("XREADGROUP","GROUP","grp","c1","COUNT","5","STREAMS",k,">"))
    elif t==17: cmds.append(("SET",k,b"\x00\x00\x01\x00\x02"*r.randrange(1,6)))
    elif t==18: cmds.append(("RPUSH",k,b"",b"abc",b"",b"de",b"\x00\x00"))
    else: cmds.append(("SET",k,"value of %d"%i))
    if i%4==0: cmds.append(("PEXPIREAT",k,4000000000000+i))
cmds.append(("SELECT",3))
data=b"".join(enc(*c) for c in cmds)
s.sendall(data)
for _ in cmds:
    l=f.readline()
    def rd(l):
        if l[:1]==b"-": print(l)
        if l[:1]==b"*":
            for _ in range(int(l[1:])): rd(f.readline())
        elif l[:1]==b"$":
            n=int(l[1:]); f.read(n+2) if n>=0 else None
    rd(l)
s.sendall(enc("SELECT",0)+enc("DBSIZE")+enc("SAVE"))
print(f.readline(),f.readline(),f.readline())
