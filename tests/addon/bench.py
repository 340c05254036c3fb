"""The world around the interceptor under test: a gate, upstreams and clients, all on loopback sockets of our own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import queue
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ADDON = Path(__file__).resolve().parents[2] / "assets" / "addon"
AWS_KEY = "AKIA" + "IOSFODNN7EXAMPLE"
EXACT = "s3cret/value+with=signs-4242"
REAL = "real-credential-0123456789"
DEADLINE_S = 20.0


def mint_ca(name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A P-256 CA with the SHA-1 key identifier that mitmproxy's leaves refer to."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(True, 0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def pem(item: Any) -> str:
    """PEM of a certificate or a private key."""
    if isinstance(item, x509.Certificate):
        return item.public_bytes(serialization.Encoding.PEM).decode()
    none = serialization.NoEncryption()
    return item.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none).decode()


def mint_leaf(ca: x509.Certificate, ca_key: Any, hosts: list[str]) -> tuple[str, str]:
    """Certificate and key of a server."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(h) for h in hosts]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return pem(builder.sign(ca_key, hashes.SHA256())), pem(key)


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """A server context; the standard library reads the chain from files only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(certificate + key)
        file.flush()
        context.load_cert_chain(file.name)
    return context


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(DEADLINE_S)

    def listen(self, handler: Any, **kwargs: Any) -> int:
        return self.serve(handler, 0, **kwargs).sockets[0].getsockname()[1]

    def serve(self, handler: Any, port: int, **kwargs: Any) -> asyncio.Server:
        return self.run(asyncio.start_server(handler, "127.0.0.1", port, **kwargs))


LOOP = Loop()


async def read_request(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Request line, headers (lower case) and body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    return head[0], headers, body


class Gate:
    """The scan API and the CONNECT proxy, with faults on demand."""

    def __init__(self, allow: set[str], token: str) -> None:
        self.allow = allow
        self.token = token
        self.fault = ""
        self.texts: list[str] = []
        self.urls: list[str] = []
        self.connects: list[str] = []
        self.targets: dict[str, int] = {}
        self.identity: dict[str, Any] = {"version": "test", "config_hash": "0" * 64}
        self.asked = 0
        self.dials = 0
        self.on_scan = self.on_connect = lambda: None
        self._open: set[asyncio.StreamWriter] = set()
        self._servers: dict[str, asyncio.Server] = {}
        self._holes: list[socket.socket] = []
        self.scan_port = self.proxy_port = 0
        self.come_back()

    def die(self, *parts: str) -> None:
        """Listeners (`scan`, `proxy`; both when none is named) and their connections are gone, by reset."""

        async def stop() -> None:
            for part in parts or tuple(self._servers):
                self._servers.pop(part).close()
            ports = {"scan": self.scan_port, "proxy": self.proxy_port}
            gone = {ports[part] for part in parts or ports}
            for writer in [w for w in self._open if w.get_extra_info("sockname")[1] in gone]:
                with contextlib.suppress(OSError):
                    linger = struct.pack("ii", 1, 0)
                    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()

        if threading.current_thread() is LOOP.thread:
            asyncio.ensure_future(stop())
        else:
            LOOP.run(stop())

    def come_back(self) -> None:
        """At the same ports."""
        for hole in self._holes:
            hole.close()
        self._holes.clear()
        if "scan" not in self._servers:
            self._servers["scan"] = LOOP.serve(self._scan, self.scan_port)
            self.scan_port = self._servers["scan"].sockets[0].getsockname()[1]
        if "proxy" not in self._servers:
            self._servers["proxy"] = LOOP.serve(self._proxy, self.proxy_port)
            self.proxy_port = self._servers["proxy"].sockets[0].getsockname()[1]

    def swallow(self) -> None:
        """In place of a dead gate: nobody answers a connect, as when its container is gone from the network."""
        for port in (self.scan_port, self.proxy_port):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(0)
            self._holes.append(listener)
            for _ in range(2):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
                self._holes.append(filler)

    def fall_silent(self) -> None:
        """In place of a dead gate: connects are taken by the kernel, and nothing more happens."""
        for port in (self.scan_port, self.proxy_port):
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("127.0.0.1", port))
            listener.listen(256)
            self._holes.append(listener)

    def verdict(self, kind: str, value: str) -> list[str]:
        if kind == "url":
            host = re.match(r"https?://([^/:]+)", value)
            if not host or host.group(1) not in self.allow:
                return ["URL-allowlist"]
        return ["DLP-AWS Access ID"] if re.search(r"AKIA[0-9A-Z]{16}", value) else []

    async def _scan(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        self.dials += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                _, headers, body = await read_request(reader)
                self.asked += 1
                self.on_scan()
                if self.fault == "reset":
                    break
                if self.fault == "slow":
                    await asyncio.sleep(30)
                if self.fault == "half":
                    writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"status":"comp')
                    await writer.drain()
                    break
                writer.write(self._answer(headers, body))
                await writer.drain()
        self._open.discard(writer)
        writer.close()

    def _answer(self, headers: dict[str, str], body: bytes) -> bytes:
        request = json.loads(body)
        kind, value = request["kind"], request["input"]["url" if request["kind"] == "url" else "text"]
        (self.urls if kind == "url" else self.texts).append(value)
        rules = self.verdict(kind, value)
        answer: dict[str, Any] = {
            "status": "completed",
            "decision": "deny" if rules else "allow",
            "kind": kind,
            "scan_id": "scan-1",
            "request_id": request["context"]["request_id"],
            "engine_version": "test",
        }
        if rules:
            answer["findings"] = [{"scanner": kind, "rule_id": r, "severity": "high", "message": "m"} for r in rules]
        status = 200 if headers.get("authorization") == f"Bearer {self.token}" else 401
        match self.fault:
            case "error":
                status = 500
            case "unknown-field":
                answer["surprise"] = True
            case "wrong-id":
                answer["request_id"] = "other"
            case "odd-decision":
                answer["decision"] = "ALLOW"
            case "allow-with-findings":
                answer |= {"decision": "allow", "findings": [{"rule_id": "X"}]}
        data = b"<html>" if self.fault == "garbage" else json.dumps(answer).encode()
        return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(data)) + data

    async def _proxy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            line, _, _ = await read_request(reader)
            if line.startswith("GET /health"):
                body = json.dumps({**self.identity, "uptime_seconds": time.monotonic()}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
                writer.close()
                return
            target = line.split()[1]
            self.connects.append(line)
            self.on_connect()
            if self.fault == "cut-connect":
                writer.close()
                return
            port = self.targets.get(target)
            if port is None or self.fault == "no-connect":
                writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                await writer.drain()
                writer.close()
                return
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(_pump(reader, other_writer), _pump(other_reader, writer))
        self._open.discard(writer)
        writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Upstream:
    """A server that keeps what arrives; `replies` maps a path to raw response pieces with pauses between."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self.arrived: list[tuple[str, dict[str, str], bytes]] = []
        self.replies: dict[str, list[bytes]] = {}
        self.pause_s = 0.0
        self.after_101: list[bytes] = []
        self.port = LOOP.listen(self._serve, **({"ssl": tls} if tls else {}))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while True:
                line, headers, body = await read_request(reader)
                self.arrived.append((line, headers, body))
                path = line.split()[1].split("?")[0]
                pieces = self.replies.get(path, [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])
                for index, piece in enumerate(pieces):
                    if index and self.pause_s:
                        await asyncio.sleep(self.pause_s)
                    writer.write(piece)
                    await writer.drain()
                if pieces[0].startswith(b"HTTP/1.1 101"):
                    self.after_101 = frames = []
                    while data := await reader.read(65536):
                        frames.append(data)
        writer.close()


class Interceptor:
    """`python3 -m bottle_addon` as a subprocess."""

    def __init__(self, config: dict[str, Any], env: dict[str, str] | None = None, prelude: str = "") -> None:
        arguments = ["-m", "bottle_addon"]
        if prelude:
            arguments = ["-c", prelude + "\nfrom bottle_addon.main import run\nraise SystemExit(run())"]
        self.stderr = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env={**os.environ, "PYTHONPATH": str(ADDON), **(env or {})},
        )
        self.events: list[dict[str, Any]] = []
        self._queue: queue.Queue[dict[str, Any]] = queue.Queue()
        self.read_stdout = threading.Event()
        self.read_stdout.set()
        threading.Thread(target=self._read, daemon=True).start()
        self.send(config)

    def _read(self) -> None:
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            self._queue.put(event)
            self.read_stdout.wait()

    def send(self, line: dict[str, Any]) -> None:
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def wait(self, event_name: str, /, **fields: Any) -> dict[str, Any]:
        """The next event of a kind with these fields."""
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                event = self._queue.get(timeout=max(end - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(
                    f"no {event_name} {fields}; events {self.events[-5:]}; stderr {self.log()}"
                ) from None
            if event["event"] == event_name and all(event.get(k) == v for k, v in fields.items()):
                return event

    def log(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.stderr):
            with contextlib.suppress(OSError):
                stream.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def policy(**changes: Any) -> dict[str, Any]:
    """The JSON form of the policy of the runtime."""
    limits = {
        "body_limit_bytes": 2 << 20,
        "cache_entries": 4096,
        "scan_connections": 8,
        "scan_deadline_ms": 1000,
        "verdict_deadline_ms": 5000,
        "audit_deadline_ms": 700,
    }
    return {
        "generation": 1,
        "allowlist": ["api.test", "other.test", "*.wild.test", "plain.test"],
        "dlp_action": "block",
        "ports": [443],
        "http_hosts": ["plain.test"],
        "websocket_hosts": ["other.test"],
        "ssh": [{"host": "git.test", "port": 22}],
        "credentials": [{"name": "TOKEN", "host": "api.test", "header": "authorization", "prefix": "Bearer "}],
        "rules": [],
        "private_hosts": [],
        "extra_hosts": {},
        "extra_ca": True,
        "limits": limits,
        **changes,
    }


def complete(data: bytes) -> bool:
    """Whether `data` is a whole response with a Content-Length."""
    head, separator, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return bool(separator and length and len(body) >= int(length.group(1)))


class Reply:
    """Status, headers and body of a response."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def rules(self) -> list[str]:
        return json.loads(self.body)["rule_ids"]


class Scene(unittest.TestCase):
    """One gate, one upstream and one interceptor for all tests of a class."""

    changes: dict[str, Any] = {}
    config_changes: dict[str, Any] = {}
    prelude = ""

    @classmethod
    def setUpClass(cls) -> None:
        cls.hosts = ["api.test", "other.test", "a.wild.test", "plain.test"]
        cls.gate = Gate({*cls.hosts}, "t" * 64)
        upstream_ca, upstream_key = mint_ca("upstream CA")
        cls.upstream = Upstream(server_tls(*mint_leaf(upstream_ca, upstream_key, cls.hosts)))
        cls.plain = Upstream(None)
        cls.gate.targets = {f"{h}:443": cls.upstream.port for h in cls.hosts} | {"plain.test:80": cls.plain.port}
        ca, ca_key = mint_ca("bottle CA")
        cls.client_tls = ssl.create_default_context(cadata=pem(ca))
        cls.port = free_port()
        cls.confdir = tempfile.TemporaryDirectory()
        cls.config = {
            "version": 1,
            "bottle": "bottle-1",
            "ca": {"certificate_pem": pem(ca), "private_key_pem": pem(ca_key)},
            "listen": {"host": "127.0.0.1", "port": cls.port},
            "gate": {"host": "127.0.0.1", "proxy_port": cls.gate.proxy_port, "scan_port": cls.gate.scan_port},
            "scan_token": cls.gate.token,
            "confdir": cls.confdir.name,
            "extra_ca_pem": pem(upstream_ca),
            "policy": policy(**cls.changes),
            "exact_secrets": [{"name": "Bottle Secret 1", "value": EXACT}],
            "credentials": {"TOKEN": REAL},
            **cls.config_changes,
        }
        cls.interceptor = Interceptor(cls.config, prelude=cls.prelude)
        cls.addClassCleanup(cls.confdir.cleanup)
        cls.addClassCleanup(cls.interceptor.stop)
        cls.interceptor.wait("ready")

    def setUp(self) -> None:
        self.gate.fault = ""
        self.gate.on_scan = self.gate.on_connect = lambda: None
        self.gate.come_back()
        self.gate.asked = self.gate.dials = 0
        for seen in (self.gate.texts, self.gate.urls, self.gate.connects, self.upstream.arrived, self.plain.arrived):
            seen.clear()
        self.upstream.replies.clear()
        self.upstream.after_101.clear()
        self.upstream.pause_s = 0.0

    def connection(self, host: str = "api.test", port: int = 443) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=DEADLINE_S, context=self.client_tls)
        connection.set_tunnel(host, port)
        self.addCleanup(connection.close)
        return connection

    def ask(
        self,
        method: str = "GET",
        path: str = "/",
        body: Any = None,
        headers: dict | None = None,
        host: str = "api.test",
    ) -> Reply:
        connection = self.connection(host)
        connection.request(method, path, body, headers or {})
        return Reply(connection.getresponse())

    def post(
        self, body: bytes | str, content_type: str = "application/json", host: str = "api.test", **headers: str
    ) -> Reply:
        sent = {"Content-Type": content_type} | {k.replace("_", "-"): v for k, v in headers.items()}
        return self.ask("POST", "/v1", body, sent, host)

    def raw(self, data: bytes, port: int | None = None) -> bytes:
        """Sends bytes to the proxy and reads until it closes or falls silent."""
        with socket.create_connection(("127.0.0.1", port or self.port), timeout=3) as s:
            s.sendall(data)
            out = b""
            with contextlib.suppress(TimeoutError):
                while not complete(out) and (piece := s.recv(65536)):
                    out += piece
            return out

    def tls_raw(self, data: bytes, host: str = "api.test", sni: str | None = "api.test", wait_s: float = 3) -> bytes:
        """The same inside a tunnel, with a server name of choice."""
        with self.tunnel(host) as s:
            context = ssl.create_default_context(cadata=self.config["ca"]["certificate_pem"])
            context.check_hostname = False
            with context.wrap_socket(s, server_hostname=sni) as tls:
                tls.settimeout(wait_s)
                tls.sendall(data)
                out = b""
                with contextlib.suppress(TimeoutError, ssl.SSLError, ConnectionError):
                    while piece := tls.recv(65536):
                        out += piece
                return out

    def tunnel(self, host: str, port: int = 443) -> socket.socket:
        s = socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)
        s.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head:
            piece = s.recv(1)
            assert piece, head
            head += piece
        self.assertTrue(head.startswith(b"HTTP/1.1 200"), head)
        return s

    def assert_denied(self, reply: Reply, rule: str) -> None:
        self.assertEqual(reply.status, 403, reply.body)
        self.assertEqual(reply.headers["x-bottle-verdict"], "deny")
        self.assertIn(rule, reply.rules)
        self.assertEqual(self.upstream.arrived + self.plain.arrived, [])

    def assert_unavailable(self, reply: Reply) -> None:
        self.assertEqual(reply.status, 503, reply.body)
        self.assertEqual(reply.headers["x-bottle-verdict"], "unavailable")
        self.assertEqual(self.upstream.arrived, [])
