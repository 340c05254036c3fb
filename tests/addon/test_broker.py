"""The credential broker and the way responses take."""

from __future__ import annotations

import base64
import gzip
import json
import time
import unittest

from bench import REAL, Scene


class BrokerTest(Scene):
    def test_agents_credentials_are_replaced(self) -> None:
        sent = {
            "Authorization": "Bearer placeholder",
            "x-api-key": "placeholder",
            "Cookie": "a=b",
            "Proxy-Authorization": "Basic eDp5",
        }
        self.assertEqual(self.ask(headers=sent).status, 200)
        arrived = self.upstream.arrived[0][1]
        self.assertEqual(arrived["authorization"], f"Bearer {REAL}")
        self.assertFalse({"x-api-key", "cookie", "proxy-authorization"} & set(arrived))
        self.assertFalse(any(REAL in text for text in self.gate.texts))
        self.assertFalse(any("placeholder" in text for text in self.gate.texts))

    def test_other_hosts_get_none(self) -> None:
        for host in ("other.test", "a.wild.test"):
            self.assertEqual(self.ask(headers={"Authorization": "Bearer placeholder"}, host=host).status, 200)
        self.assertEqual([a[1]["authorization"] for a in self.upstream.arrived], ["Bearer placeholder"] * 2)

    def test_never_over_plain_http(self) -> None:
        self.raw(b"GET http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n")
        self.assertNotIn("authorization", self.plain.arrived[0][1])

    def test_real_value_sent_by_the_agent_is_refused(self) -> None:
        self.assert_denied(self.post(json.dumps([f"x {REAL}"])), "DLP-Credential TOKEN")
        self.assert_denied(
            self.ask(headers={"Authorization": f"Bearer {REAL}"}, host="other.test"), "DLP-Credential TOKEN"
        )

    def test_echo_is_scrubbed(self) -> None:
        encoded = base64.b64encode(f"x:{REAL}".encode()).decode()
        body = f"you sent {REAL} and {encoded} and {REAL.encode().hex()}".encode()
        self.upstream.replies["/echo"] = [
            f"HTTP/1.1 200 OK\r\nX-Echo: {REAL}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        ]
        reply = self.ask(path="/echo")
        self.assertEqual(len(reply.body), len(body))
        self.assertIn(b"you sent *****", reply.body)
        self.assertNotIn(REAL.encode(), reply.body)
        self.assertNotIn(encoded[4:-6].encode(), reply.body)
        self.assertNotIn(REAL.encode().hex().encode(), reply.body)
        self.assertNotIn(REAL, str(reply.headers))

    def test_echo_in_a_packed_body_is_scrubbed(self) -> None:
        body = gzip.compress(f"you sent {REAL}".encode())
        head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
        self.upstream.replies["/packed"] = [head % len(body) + body]
        reply = self.ask(path="/packed", headers={"Accept-Encoding": "gzip"})
        self.assertEqual(self.upstream.arrived[0][1]["accept-encoding"], "identity")
        self.assertNotIn(REAL.encode(), gzip.decompress(reply.body))

    def test_echo_over_chunk_borders_is_scrubbed(self) -> None:
        text = f"data: {REAL[:7]}", REAL[7:8], REAL[8:] + f"\n\ndata: {REAL[:5]}end\n\n"
        chunks = [b"%x\r\n%s\r\n" % (len(t), t.encode()) for t in text]
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.upstream.replies["/sse"] = [head, *chunks, b"0\r\n\r\n"]
        self.upstream.pause_s = 0.05
        body = self.ask(path="/sse").body
        self.assertEqual(body.decode(), f"data: {'*' * len(REAL)}\n\ndata: {REAL[:5]}end\n\n")

    def test_events_are_passed_on_as_they_come(self) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        events = [b"data: event %d\n\n" % i for i in range(5)]
        self.upstream.replies["/sse"] = [head, *(b"%x\r\n%s\r\n" % (len(e), e) for e in events), b"0\r\n\r\n"]
        self.upstream.pause_s = 0.2
        connection = self.connection()
        began = time.monotonic()
        connection.request("GET", "/sse")
        response = connection.getresponse()
        times = []
        for event in events:
            self.assertEqual(response.read(len(event)), event)
            times.append(time.monotonic() - began)
        self.assertLess(times[0], 0.6)
        self.assertGreater(times[-1] - times[0], 0.6)


if __name__ == "__main__":
    unittest.main()
