"""A small RESP2 client and a way to run one server in a folder of its own.

Knows no data set and no file format. The server listens on 127.0.0.1 only and is stopped by the
process id that started it.
"""
import os
import socket
import subprocess
import time


class ReplyError(Exception):
    """An error reply of the server."""


class Client:
    """One connection. `client("SET", "k", b"v")` answers bytes, int, list, or None."""

    def __init__(self, port, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.sock.makefile("rb")

    def close(self):
        self.file.close()
        self.sock.close()

    @staticmethod
    def encode(args):
        out = [b"*%d\r\n" % len(args)]
        for arg in args:
            if isinstance(arg, str):
                arg = arg.encode()
            elif isinstance(arg, int):
                arg = b"%d" % arg
            out.append(b"$%d\r\n%s\r\n" % (len(arg), arg))
        return b"".join(out)

    def __call__(self, *args):
        self.sock.sendall(self.encode(args))
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise ReplyError(f"{args[:3]}: {reply}")
        return reply

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ReplyError(rest.decode("latin1"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            if int(rest) < 0:
                return None
            body = self.file.read(int(rest) + 2)
            return body[:-2]
        if kind == b"*":
            if int(rest) < 0:
                return None
            return [self.read() for _ in range(int(rest))]
        raise ValueError(f"unexpected reply {line!r}")

    def info(self, field):
        for line in self("INFO", "everything").decode("latin1").split("\r\n"):
            if line.startswith(field + ":"):
                return line.split(":", 1)[1]
        return None


def pairs(reply):
    """[name, value, name, value] as a dict with str names (XINFO, FUNCTION LIST)."""
    return {reply[i].decode(): reply[i + 1] for i in range(0, len(reply), 2)}


class Server:
    """A running server; use it in a `with` block."""

    def __init__(self, binary, port, folder, *args, debug=True):
        self.binary, self.port, self.folder, self.debug = binary, port, folder, debug
        self.args = args

    def __enter__(self):
        args = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder,
                "--save", "", "--appendfsync", "no", "--daemonize", "no"]
        if self.debug:
            args += ["--enable-debug-command", "yes"]
        log = open(os.path.join(self.folder, "server.log"), "ab")
        self.process = subprocess.Popen(args + list(self.args), cwd=self.folder, stdout=log, stderr=log)
        log.close()
        for _ in range(1500):
            if self.process.poll() is not None:
                break
            try:
                self.client = Client(self.port)
                if self.client("PING") == b"PONG":
                    return self
            except ReplyError:
                self.client.close()
            except OSError:
                pass
            time.sleep(0.02)
        self.kill()
        with open(os.path.join(self.folder, "server.log"), errors="replace") as log:
            raise RuntimeError("the server did not start:\n" + log.read()[-2000:])

    def children(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)

    def stop(self):
        """Asks for an orderly end, so that the log is complete; no snapshot is written."""
        self.client.sock.sendall(Client.encode(["SHUTDOWN", "NOSAVE"]))
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def __exit__(self, *_):
        try:
            self.client.close()
        finally:
            self.kill()


def version(binary):
    """(producer, version tuple), as in ("valkey-9.1.2", (9, 1, 2))."""
    out = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    name = "valkey" if out.lower().startswith("valkey") else "redis"
    number = out.split("v=", 1)[1].split()[0]
    return f"{name}-{number}", tuple(int(x) for x in number.split("."))
