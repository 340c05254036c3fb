"""Websockets: refused unless permitted, and then every message is judged."""

from __future__ import annotations

import json
import ssl
import time
import unittest

import wsproto.events
from bench import AWS_KEY, Scene
from wsproto import ConnectionType
from wsproto.connection import Connection

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: other.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


class Websocket(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.upstream.replies["/ws"] = [SWITCH]

    def open(self) -> tuple[ssl.SSLSocket, Connection]:
        tunnel = self.tunnel("other.test")
        self.addCleanup(tunnel.close)
        tls = self.client_tls.wrap_socket(tunnel, server_hostname="other.test")
        self.addCleanup(tls.close)
        tls.settimeout(5)
        tls.sendall(HANDSHAKE)
        head = b""
        while b"\r\n\r\n" not in head:
            piece = tls.recv(1)
            self.assertTrue(piece, head)
            head += piece
        self.assertTrue(head.startswith(b"HTTP/1.1 101"), head)
        return tls, Connection(ConnectionType.CLIENT)

    def arrived(self, wanted: int = 1) -> list[wsproto.events.Event]:
        """What the upstream understood, once it is at least `wanted` events."""
        end = time.monotonic() + 3
        while True:
            server = Connection(ConnectionType.SERVER)
            server.receive_data(b"".join(self.upstream.after_101))
            events = list(server.events())
            if len(events) >= wanted or time.monotonic() > end:
                return events
            time.sleep(0.05)

    def test_clean_messages_pass_and_are_audited(self) -> None:
        tls, client = self.open()
        tls.sendall(client.send(wsproto.events.TextMessage(json.dumps({"a": "hello"}))))
        events = self.arrived()
        self.assertEqual([e.data for e in events], ['{"a": "hello"}'])
        self.interceptor.wait("audit", kind="websocket", verdict="allow", bytes=0)
        self.interceptor.wait("audit", kind="websocket", verdict="allow", bytes=14)

    def test_message_with_a_secret_ends_the_connection(self) -> None:
        for message in (
            wsproto.events.TextMessage(json.dumps({"a": AWS_KEY.replace("K", "\\u004b")}).replace("\\\\", "\\")),
            wsproto.events.BytesMessage(b"\xff\x00" + AWS_KEY.encode() + b"\x00"),
        ):
            with self.subTest(message=message):
                self.upstream.after_101.clear()
                tls, client = self.open()
                tls.sendall(client.send(message) + client.send(wsproto.events.TextMessage("after")))
                self.interceptor.wait("audit", kind="websocket", verdict="deny", rule_ids=["DLP-AWS Access ID"])
                received = b""
                while piece := tls.recv(4096):
                    received += piece
                client.receive_data(received)
                self.assertIn(1008, [getattr(e, "code", None) for e in client.events()])
                events = self.arrived()
                self.assertFalse([e for e in events if isinstance(e, wsproto.events.Message)], events)

    def test_broken_scan_api_ends_the_connection(self) -> None:
        tls, client = self.open()
        self.gate.fault = "garbage"
        tls.sendall(client.send(wsproto.events.TextMessage("never seen before")))
        self.interceptor.wait("audit", kind="websocket", verdict="unavailable")
        self.assertFalse([e for e in self.arrived() if isinstance(e, wsproto.events.Message)])

    def test_control_frames_carry_nothing(self) -> None:
        tls, client = self.open()
        tls.sendall(client.send(wsproto.events.Ping(payload=AWS_KEY.encode())))
        tls.sendall(client.send(wsproto.events.Pong(payload=AWS_KEY.encode())))
        tls.sendall(client.send(wsproto.events.CloseConnection(code=1000, reason=AWS_KEY)))
        events = self.arrived(3)
        self.assertEqual([bytes(e.payload) for e in events[:2]], [b"", b""])
        self.assertFalse(events[2].reason)
        self.assertNotIn(AWS_KEY.encode(), b"".join(self.upstream.after_101))

    def test_pings_of_the_server_are_answered_in_kind(self) -> None:
        server = Connection(ConnectionType.SERVER)
        self.upstream.replies["/ws"] = [SWITCH, server.send(wsproto.events.Ping(payload=b"are you there"))]
        self.upstream.pause_s = 0.2
        tls, client = self.open()
        client.receive_data(tls.recv(4096))
        ping = next(client.events())
        self.assertEqual(bytes(ping.payload), b"are you there")
        tls.sendall(client.send(ping.response()))
        self.assertEqual(bytes(self.arrived()[0].payload), b"are you there")

    def test_host_without_the_right(self) -> None:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        self.assert_denied(self.ask(headers=headers), "BOTTLE-websocket")


if __name__ == "__main__":
    unittest.main()
