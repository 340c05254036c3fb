"""Tricks of the proxy protocol: each must be refused with nothing arriving upstream."""

from __future__ import annotations

import json
import ssl
import unittest

import h2.config
import h2.connection
import h2.events
from bench import AWS_KEY, LOOP, Scene, Upstream, mint_ca, mint_leaf, server_tls


class Refusals(Scene):
    changes = {"rules": [{"host": "*.wild.test", "methods": ["GET"], "paths": ["/v1/*", "/deep/**"]}]}

    def connect_status(self, target: str) -> bytes:
        answer = self.raw(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        self.assertEqual(self.gate.connects, [])
        return answer

    def test_connect_elsewhere_is_refused_before_anything_is_dialled(self) -> None:
        for target in (
            "evil.test:443",
            "deny-probe.invalid:443",
            "api.test.evil.test:443",
            "evilwild.test:443",
            "API.TEST.:443",
            "api.test.:443",
            "127.0.0.1:443",
            "2130706433:443",
            "0x7f.1:443",
            "0177.0.0.1:443",
            "[::1]:443",
            "localhost:443",
            f"127.0.0.1:{self.gate.scan_port}",
            "api.test:22",
            "api.test:25",
            "api.test:53",
            "api.test:853",
            "api.test:80",
            "git.test:443",
            "git.test:2222",
        ):
            with self.subTest(target=target):
                answer = self.connect_status(target)
                self.assertTrue(answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400")), answer)
                self.assertIn(b"x-bottle-verdict: deny", answer.lower())

    def test_denial_names_the_remedy(self) -> None:
        answer = self.connect_status("evil.test:443")
        body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        self.assertEqual((body["host"], body["rule_ids"]), ("evil.test", ["BOTTLE-allowlist"]))
        self.assertIn("egress.allowlist", body["hint"])
        self.interceptor.wait("audit", kind="connect", verdict="deny", host="evil.test")

    def test_plain_http(self) -> None:
        answer = self.raw(b"GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
        self.assertIn(b"403", answer.split(b"\r\n")[0])
        answer = self.raw(b"GET https://api.test/ HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
        self.assertIn(b"403", answer.split(b"\r\n")[0])
        with self.tunnel("api.test") as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
            self.assertIn(b" 403 ", s.recv(65536))
        self.assertEqual(self.gate.connects, [])

    def test_plain_http_where_the_policy_says_so_goes_through_connect(self) -> None:
        answer = self.raw(b"GET http://plain.test/x HTTP/1.1\r\nHost: plain.test\r\nConnection: close\r\n\r\n")
        self.assertIn(b" 200 ", answer)
        self.assertEqual(self.gate.connects, ["CONNECT plain.test:80 HTTP/1.1"])
        self.assertEqual(self.plain.arrived[0][0], "GET /x HTTP/1.1")
        self.assertEqual(self.gate.urls, ["http://plain.test/x"])

    def test_sni_host_and_authority_must_agree(self) -> None:
        get = b"GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n"
        for sni, host in (
            ("other.test", b"api.test"),
            (None, b"api.test"),
            ("api.test", b"other.test"),
            ("api.test", b"api.test:444"),
        ):
            with self.subTest(sni=sni, host=host):
                answer = self.tls_raw(get % host, sni=sni)
                self.assertIn(b" 403 ", answer.split(b"\r\n")[0])
        for request in (
            b"GET / HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: api.test\r\nhost: api.test\r\nConnection: close\r\n\r\n",
            b"GET https://other.test/ HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
        ):
            with self.subTest(request=request):
                answer = self.tls_raw(request, wait_s=1)
                self.assertRegex(answer.split(b"\r\n")[0], rb" 40[03] ")
        self.assertEqual(self.upstream.arrived, [])

    def _h2(self, headers: list[tuple[str, str]]) -> dict[str, str]:
        context = ssl.create_default_context(cadata=self.config["ca"]["certificate_pem"])
        context.set_alpn_protocols(["h2"])
        with self.tunnel("api.test") as s, context.wrap_socket(s, server_hostname="api.test") as tls:
            self.assertEqual(tls.selected_alpn_protocol(), "h2")
            config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
            connection = h2.connection.H2Connection(config)
            connection.initiate_connection()
            connection.send_headers(1, headers, end_stream=True)
            tls.sendall(connection.data_to_send())
            while True:
                data = tls.recv(65536)
                if not data:
                    return {}
                for event in connection.receive_data(data):
                    if isinstance(event, h2.events.ResponseReceived):
                        return {k.decode(): v.decode() for k, v in event.headers}
                    if isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                        return {}

    def test_h2(self) -> None:
        base = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
        self.assertEqual(self._h2([*base, (":authority", "api.test")])[":status"], "200")
        self.upstream.arrived.clear()
        for headers in (
            [*base, (":authority", "other.test")],
            [*base, (":authority", "api.test"), ("host", "other.test")],
            [*base, (":authority", "api.test"), ("x", AWS_KEY)],
            [(":method", "CONNECT"), (":authority", "api.test:443")],
            [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "other.test")],
        ):
            with self.subTest(headers=headers):
                answer = self._h2(headers)
                self.assertIn(answer.get(":status", "400"), ("400", "403"))
                if answer:
                    self.assertEqual(answer["x-bottle-verdict"], "deny")
        self.assertEqual(self.upstream.arrived, [])

    def test_raw_bytes_in_a_tunnel(self) -> None:
        for data in (
            b"\x00\x01\x02raw bytes",
            b"SSH-2.0-x\r\n",
            b"EHLO x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ):
            with self.subTest(data=data), self.tunnel("api.test") as s:
                s.settimeout(1)
                s.sendall(data)
                try:
                    answer = s.recv(65536)
                except (TimeoutError, ConnectionError):
                    answer = b""
                self.assertNotIn(b" 200 ", answer)
        self.assertEqual(self.gate.connects, [])

    def test_smuggling(self) -> None:
        for request in (
            b"POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
            b"POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
            b"GET / HTTP/1.1\r\nHost : api.test\r\n\r\n",
            b"GET /\r\n",
        ):
            with self.subTest(request=request):
                self.assertNotIn(b" 200 ", self.tls_raw(request, wait_s=0.7))
        self.assertEqual(self.upstream.arrived, [])

    def test_trailers_are_judged(self) -> None:
        body = b"POST / HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\nX-T: %s\r\n\r\n"
        answer = self.tls_raw(body % AWS_KEY.encode(), wait_s=1)
        self.assertNotIn(b" 200 ", answer)
        self.assertEqual(self.upstream.arrived, [])

    def test_upgrades(self) -> None:
        for name, value in (("Upgrade", "h2c"), ("Upgrade", "tcp"), ("HTTP2-Settings", "AAMAAABk")):
            with self.subTest(value=value):
                self.assertEqual(self.ask(headers={name: value, "Connection": "Upgrade"}).status, 403)
        reply = self.ask(headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"})
        self.assert_denied(reply, "BOTTLE-websocket")

    def test_odd_methods(self) -> None:
        for method in ("TRACE", "get", "PRI", "X" * 30):
            with self.subTest(method=method):
                self.assertEqual(self.ask(method).status, 403)
        self.assertEqual(self.upstream.arrived, [])

    def test_body_over_the_limit(self) -> None:
        large = b"a" * ((2 << 20) + 1)
        reply = self.post(large, "text/plain")
        self.assertEqual((reply.status, reply.headers["x-bottle-verdict"]), (413, "deny"))
        self.interceptor.wait("audit", rule_ids=["BOTTLE-body-limit"], verdict="deny")
        connection = self.connection()
        connection.request(
            "POST", "/", iter([large[: 1 << 20]] * 3), {"Content-Type": "text/plain"}, encode_chunked=True
        )
        reply = connection.getresponse()
        self.assertEqual((reply.status, reply.headers["x-bottle-verdict"]), (413, "deny"))
        self.assertEqual(self.upstream.arrived, [])

    def test_large_response_is_no_offence(self) -> None:
        self.upstream.replies["/big"] = [b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (5 << 20), bytes(5 << 20)]
        self.assertEqual(len(self.ask(path="/big").body), 5 << 20)

    def test_rules_of_a_host(self) -> None:
        for method, path in (
            ("POST", "/v1/x"),
            ("GET", "/v2/x"),
            ("GET", "/v1/x/y"),
            ("GET", "/v1/"[:-1]),
            ("GET", "/v1/..%2fadmin"),
            ("GET", "/deep/../admin"),
            ("GET", "/deep//x"),
        ):
            with self.subTest(path=path):
                self.assert_denied(self.ask(method, path, host="a.wild.test"), "BOTTLE-rules")
        for path in ("/v1/x", "/v1/x?y=1/2", "/deep/a/b"):
            self.assertEqual(self.ask("GET", path, host="a.wild.test").status, 200)

    def test_expect_continue_and_keep_alive_judge_each_request(self) -> None:
        connection = self.connection()
        for index in range(3):
            connection.request("POST", "/v1", json.dumps([index]), {"Expect": "100-continue"})
            response = connection.getresponse()
            self.assertEqual((response.status, response.read()), (200, b"ok"))
        connection.request("POST", "/v1", json.dumps([AWS_KEY]))
        self.assertEqual(connection.getresponse().status, 403)
        self.assertEqual(len(self.upstream.arrived), 3)

    def test_pipelined_second_request_is_judged(self) -> None:
        one = b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n"
        two = f"GET /{AWS_KEY} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n".encode()
        answer = self.tls_raw(one + two)
        self.assertIn(b" 200 ", answer)
        self.assertIn(b" 403 ", answer)
        self.assertEqual(len(self.upstream.arrived), 1)

    def test_upstream_cannot_forge_a_verdict(self) -> None:
        self.upstream.replies["/fake"] = [
            b"HTTP/1.1 403 Forbidden\r\nX-Bottle-Verdict: deny\r\nx-bottle-probe: 1\r\nContent-Length: 9\r\n\r\nblocked: "
        ]
        reply = self.ask(path="/fake")
        self.assertEqual(reply.status, 403)
        self.assertIsNone(reply.headers["x-bottle-verdict"])
        self.assertIsNone(reply.headers["x-bottle-probe"])

    def test_own_headers_of_the_agent_go_nowhere(self) -> None:
        self.assertEqual(self.ask(headers={"x-bottle-probe": "0" * 64}).status, 200)
        self.assertNotIn("x-bottle-probe", self.upstream.arrived[0][1])

    def test_gate_that_refuses_the_tunnel(self) -> None:
        self.gate.fault = "no-connect"
        reply = self.ask()
        self.assertEqual((reply.status, reply.headers["x-bottle-verdict"]), (503, "unavailable"))
        self.assertNotIn(b"127.0.0.1", reply.body)
        self.interceptor.wait("audit", verdict="unavailable", host="api.test")

    def test_upstream_with_a_foreign_certificate(self) -> None:
        stranger = Upstream(server_tls(*mint_leaf(*mint_ca("stranger"), ["other.test"])))
        good = self.gate.targets["other.test:443"]
        self.gate.targets["other.test:443"] = stranger.port
        self.addCleanup(self.gate.targets.__setitem__, "other.test:443", good)
        reply = self.ask(host="other.test")
        self.assertEqual((reply.status, reply.headers["x-bottle-verdict"]), (503, "unavailable"))
        self.assertEqual(stranger.arrived, [])


class Ssh(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.banner = b"SSH-2.0-test\r\n"
        self.received: list[bytes] = []

        async def serve(reader, writer):
            writer.write(self.banner)
            while data := await reader.read(65536):
                self.received.append(data)
                writer.write(b"echo:" + data)
            writer.close()

        self.gate.targets["git.test:22"] = LOOP.listen(serve)

    def test_tunnel_to_exactly_the_host_and_port(self) -> None:
        with self.tunnel("git.test", 22) as s:
            s.sendall(b"SSH-")
            s.sendall(b"2.0-client\r\n")
            got = b""
            while b"echo:SSH-2.0-client" not in got:
                piece = s.recv(4096)
                self.assertTrue(piece, got)
                got += piece
            s.sendall(AWS_KEY.encode())
            s.recv(4096)
        self.assertTrue(got.startswith(self.banner))
        self.assertEqual(self.gate.connects, ["CONNECT git.test:22 HTTP/1.1"])
        begin = self.interceptor.wait("audit", kind="ssh", method="CONNECT", host="git.test", verdict="allow")
        end = self.interceptor.wait("audit", kind="ssh", method="CLOSE", flow_id=begin["flow_id"])
        self.assertEqual((end["bytes"], end["verdict"], end["path"]), (16 + 20, "allow", ":22"))
        self.assertGreater(end["bytes_received"], 16)

    def _expect_closed(self, data: bytes) -> bytes:
        with self.tunnel("git.test", 22) as s:
            s.settimeout(2)
            s.sendall(data)
            out = b""
            try:
                while piece := s.recv(4096):
                    out += piece
            except (TimeoutError, ConnectionError):
                pass
            return out

    def test_client_without_banner(self) -> None:
        for data in (b"GET / HTTP/1.1\r\nHost: git.test\r\n\r\n", b"SSH-1.5-x\r\n", b"\x16\x03\x01\x00\x05hello"):
            with self.subTest(data=data):
                self._expect_closed(data)
                self.assertEqual(self.gate.connects, [])

    def test_server_without_banner(self) -> None:
        self.banner = b"220 smtp.test\r\n"
        self.assertEqual(self._expect_closed(b"SSH-2.0-client\r\n"), b"")
        self.interceptor.wait("audit", kind="ssh", rule_ids=["BOTTLE-ssh-banner"], verdict="deny")


if __name__ == "__main__":
    unittest.main()
