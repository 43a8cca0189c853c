"""Reads an RDB file record by record, enough to say which type byte and which string form each key
has, and writes small RDB files for the corrupt samples.

A second reading of the format, independent of the engine's. Formats: RDB 1 to 12 and VALKEY080.
"""
import struct

OPCODES = {243: "slot-import", 244: "slot-info", 245: "function", 247: "module-aux", 248: "idle",
           249: "freq", 250: "aux", 251: "resize", 252: "expire-ms", 253: "expire", 254: "select",
           255: "end"}


def crc64(data, crc=0):
    """CRC-64 of the Jones polynomial, reflected, as in the last eight bytes of an RDB."""
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc


def _crc_table():
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x95AC9329AC4BC9B5 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = _crc_table()


def lzf_decompress(data, size):
    """LZF: a control byte below 32 copies literals, any other copies from what was written."""
    out, at = bytearray(), 0
    while at < len(data):
        ctrl = data[at]
        at += 1
        if ctrl < 32:
            out += data[at:at + ctrl + 1]
            at += ctrl + 1
            continue
        length = ctrl >> 5
        if length == 7:
            length += data[at]
            at += 1
        start = len(out) - ((ctrl & 31) << 8) - data[at] - 1
        at += 1
        assert start >= 0, "a back reference before the start"
        for i in range(length + 2):
            out.append(out[start + i])
    assert len(out) == size, (len(out), size)
    return bytes(out)


class Reader:
    """Walks one file. `records()` yields a dict for each key; `aux` and `opcodes` fill on the way."""

    def __init__(self, data):
        self.data, self.at = data, 9
        self.valkey = data[:6] == b"VALKEY"
        assert self.valkey or data[:5] == b"REDIS", data[:9]
        self.version = int(data[6:9] if self.valkey else data[5:9])
        self.aux, self.opcodes, self.functions = [], {}, []

    def take(self, n):
        assert self.at + n <= len(self.data), "past the end"
        self.at += n
        return self.data[self.at - n:self.at]

    def length(self):
        """(length, False), or (special form, True)."""
        first = self.take(1)[0]
        if first >> 6 == 0:
            return first & 63, False
        if first >> 6 == 1:
            return (first & 63) << 8 | self.take(1)[0], False
        if first == 0x80:
            return struct.unpack(">I", self.take(4))[0], False
        if first == 0x81:
            return struct.unpack(">Q", self.take(8))[0], False
        assert first >> 6 == 3, hex(first)
        return first & 63, True

    def number(self):
        value, special = self.length()
        assert not special
        return value

    def string(self):
        """(bytes, form): the form as `string_form` in the expected files."""
        value, special = self.length()
        if not special:
            return self.take(value), "raw"
        if value == 3:
            packed, size = self.number(), self.number()
            return lzf_decompress(self.take(packed), size), "lzf"
        width = {0: 1, 1: 2, 2: 4}[value]
        return b"%d" % int.from_bytes(self.take(width), "little", signed=True), f"int{8 * width}"

    def ms(self):
        return struct.unpack("<q", self.take(8))[0]

    def module(self):
        """One module value: unsigned integers, floats as %.9g, doubles as %.17g, strings as bytes."""
        pieces = []
        while (op := self.number()) != 0:
            if op in (1, 2):
                pieces.append(self.number())
            elif op == 3:
                pieces.append("%.9g" % struct.unpack("<f", self.take(4))[0])
            elif op == 4:
                pieces.append("%.17g" % struct.unpack("<d", self.take(8))[0])
            else:
                pieces.append(self.string()[0])
        return pieces

    def value(self, kind):
        """Reads a value of type `kind`; answers what the samples need of it: blobs, or a form."""
        if kind == 0:
            return self.string()
        if kind in (1, 2):
            return [self.string()[0] for _ in range(self.number())]
        if kind == 3:
            out = []
            for _ in range(self.number()):
                out.append(self.string()[0])
                n = self.take(1)[0]
                self.take(n if n < 253 else 0)
            return out
        if kind == 4:
            return [(self.string()[0], self.string()[0]) for _ in range(self.number())]
        if kind == 5:
            return [(self.string()[0], self.take(8)) for _ in range(self.number())]
        if kind == 7:
            return self.number(), self.module()
        if kind in (9, 10, 11, 12, 13, 16, 17, 20):
            return self.string()[0]
        if kind == 14:
            return [self.string()[0] for _ in range(self.number())]
        if kind == 18:
            return [(self.number(), self.string()[0]) for _ in range(self.number())]
        if kind in (15, 19, 21):
            return self.stream(kind)
        if kind == 22 and self.valkey:
            return [(self.string()[0], self.string()[0], self.ms()) for _ in range(self.number())]
        if kind == 24:
            self.ms()
            return [(self.number(), self.string()[0], self.string()[0]) for _ in range(self.number())]
        if kind == 25:
            self.ms()
            return self.string()[0]
        raise ValueError(f"type {kind} at {self.at}")

    def stream(self, kind):
        nodes = [(self.string()[0], self.string()[0]) for _ in range(self.number())]
        for _ in range(3 if kind == 15 else 8):
            self.number()
        for _ in range(self.number()):
            self.string()
            for _ in range(2 if kind == 15 else 3):
                self.number()
            for _ in range(self.number()):
                self.take(24)
                self.number()
            for _ in range(self.number()):
                self.string()
                self.take(8 if kind < 21 else 16)
                for _ in range(self.number()):
                    self.take(16)
        return nodes

    def records(self):
        db, expire, idle, freq = 0, -1, None, None
        while True:
            start = self.at
            kind = self.take(1)[0]
            if kind >= 243:
                self.opcodes[kind] = self.opcodes.get(kind, 0) + 1
            if kind == 255:
                return
            if kind == 254:
                db = self.number()
            elif kind == 253:
                expire = struct.unpack("<i", self.take(4))[0] * 1000
            elif kind == 252:
                expire = self.ms()
            elif kind == 251:
                self.number(), self.number()
            elif kind == 250:
                self.aux.append((self.string()[0], self.string()[0]))
            elif kind == 249:
                freq = self.take(1)[0]
            elif kind == 248:
                idle = self.number()
            elif kind == 247:
                self.number()
                self.module()
            elif kind == 245:
                self.functions.append(self.string()[0])
            elif kind == 244:
                self.number(), self.number(), self.number()
            else:
                key = self.string()[0]
                at = self.at
                value = self.value(kind)
                yield {"db": db, "key": key, "type": kind, "expire": expire, "idle": idle,
                       "freq": freq, "value": value, "start": start, "value_at": at, "end": self.at}
                expire, idle, freq = -1, None, None


def length(n):
    """The shortest form of a length."""
    if n < 64:
        return bytes([n])
    if n < 1 << 14:
        return bytes([0x40 | n >> 8, n & 255])
    if n < 1 << 32:
        return b"\x80" + struct.pack(">I", n)
    return b"\x81" + struct.pack(">Q", n)


def string(data):
    return length(len(data)) + data


def seal(body):
    """The body with the end opcode and a checksum that fits it."""
    body += b"\xff"
    return body + struct.pack("<Q", crc64(body))


def reseal(data):
    """The same file with its last eight bytes recomputed."""
    return data[:-8] + struct.pack("<Q", crc64(data[:-8]))
