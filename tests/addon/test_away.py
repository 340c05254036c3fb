"""A gate that is away: requests wait for it a bounded time, probes do not, and nothing is ever sent twice."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h2.config
import h2.connection
import h2.events
import wsproto.events
from bench import ADDON, LOOP, REAL, Reply, Scene, policy
from bottle_addon.gate import Gate, Patience
from bottle_addon.refusal import Unavailable
from bottle_addon.settings import Address
from test_websocket import HANDSHAKE, SWITCH
from wsproto import ConnectionType
from wsproto.connection import Connection

POOL = ThreadPoolExecutor(64)
AWAY_S = 0.8
# From the return of the gate to the answer: one pause of the look-out, one attempt, and a slow machine.
NOTICED_S = 1.5


def later(work: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    return POOL.submit(work, *args, **kwargs)


class AwayScene(Scene):
    """Ends each test with a gate that is there."""

    def setUp(self) -> None:
        super().setUp()
        self.assertEqual(self.ask().status, 200)
        self.upstream.arrived.clear()
        self.gate.connects.clear()
        self.gate.asked = 0

    def back_after(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self.gate.come_back)
        timer.start()
        self.addCleanup(timer.join)

    def timed(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[Any, float]:
        began = time.monotonic()
        return work(*args, **kwargs), time.monotonic() - began

    def assert_delayed(self, seconds: float, least: float = AWAY_S - 0.1) -> None:
        self.assertGreater(seconds, least)
        self.assertLess(seconds, AWAY_S + NOTICED_S)


class Waiting(AwayScene):
    def test_requests_wait_for_a_gate_that_comes_back(self) -> None:
        for how in ("refuse", "swallow"):
            with self.subTest(how=how):
                self.upstream.arrived.clear()
                self.gate.die()
                if how == "swallow":
                    self.gate.swallow()
                self.back_after(AWAY_S)
                answers = [later(self.timed, self.post, json.dumps([f"{how} {n}"])) for n in range(20)]
                for answer in answers:
                    reply, seconds = answer.result()
                    self.assertEqual(reply.status, 200, reply.body)
                    self.assert_delayed(seconds)
                self.assertEqual(len(self.upstream.arrived), 20)

    def test_a_denial_is_a_denial_after_the_wait_too(self) -> None:
        self.gate.die()
        self.back_after(0.5)
        self.assert_denied(self.post(json.dumps(["AKIA" + "A" * 16])), "DLP-AWS Access ID")

    def test_a_gate_that_dies_in_a_scan_is_asked_again(self) -> None:
        def die() -> None:
            self.gate.on_scan = lambda: None
            self.gate.die()

        self.gate.on_scan = die
        self.back_after(AWAY_S)
        reply, seconds = self.timed(self.post, json.dumps(["asked twice"]))
        self.assertEqual(reply.status, 200, reply.body)
        self.assert_delayed(seconds)
        self.assertEqual(len(self.upstream.arrived), 1)

    def test_a_gate_that_falls_silent_in_a_scan_is_asked_again_once_it_is_reset(self) -> None:
        def fall_silent() -> None:
            self.gate.on_scan = lambda: None
            self.gate.fault = "slow"
            threading.Timer(0.4, self.gate.die).start()

        self.gate.on_scan = fall_silent
        timer = threading.Timer(0.8, lambda: (setattr(self.gate, "fault", ""), self.gate.come_back()))
        timer.start()
        self.addCleanup(timer.join)
        self.assertEqual(self.post(json.dumps(["stopped and killed"])).status, 200)
        self.assertEqual(len(self.upstream.arrived), 1)

    def test_what_a_gate_dies_of_is_not_asked_for_ever(self) -> None:
        for fault in ("reset", "half"):
            with self.subTest(fault=fault):
                self.gate.die()
                self.gate.come_back()
                self.assertEqual(self.ask().status, 200)
                self.gate.asked = 0
                self.upstream.arrived.clear()
                self.gate.fault = fault
                reply, seconds = self.timed(self.ask)
                self.gate.fault = ""
                self.assert_unavailable(reply)
                self.assertEqual(self.gate.asked, 2)
                self.assertLess(seconds, 1)

    def test_a_gate_that_answers_oddly_is_not_waited_for(self) -> None:
        for fault in ("garbage", "error", "unknown-field", "wrong-id", "odd-decision", "allow-with-findings"):
            with self.subTest(fault=fault):
                self.gate.fault = fault
                reply, seconds = self.timed(self.ask)
                self.assert_unavailable(reply)
                self.assertLess(seconds, 0.5)

    def test_a_slow_verdict_is_waited_for_no_longer_than_its_deadline(self) -> None:
        self.gate.fault = "slow"
        reply, seconds = self.timed(self.ask)
        self.assert_unavailable(reply)
        self.assertLess(seconds, 2)

    def test_the_opening_of_the_tunnel_waits(self) -> None:
        hosts = {"https": "api.test", "http": "plain.test"}
        for scheme, host in hosts.items():
            with self.subTest(scheme=scheme):
                self.gate.connects.clear()
                self.gate.on_scan = lambda: (setattr(self.gate, "on_scan", lambda: None), self.gate.die("proxy"))
                self.back_after(AWAY_S)
                answer, seconds = self.timed(self.one_of, scheme, host)
                self.assertIn(b" 200 ", answer.split(b"\r\n")[0] + b" ", answer)
                self.assert_delayed(seconds)
                self.assertEqual(len(self.gate.connects), 1)

    def one_of(self, scheme: str, host: str) -> bytes:
        get = f"GET {'http://' + host if scheme == 'http' else ''}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        if scheme == "http":
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
                s.sendall(get.encode())
                return s.recv(65536)
        return self.tls_raw(get.encode(), wait_s=10)

    def test_a_tunnel_is_asked_for_again_when_the_gate_dies_before_it_answers(self) -> None:
        def die() -> None:
            self.gate.on_connect = lambda: None
            self.gate.die()

        self.gate.on_connect = die
        self.back_after(AWAY_S)
        reply, seconds = self.timed(self.ask)
        self.assertEqual(reply.status, 200, reply.body)
        self.assert_delayed(seconds)
        self.assertEqual((len(self.gate.connects), len(self.upstream.arrived)), (2, 1))

    def test_a_tunnel_is_not_asked_for_for_ever(self) -> None:
        self.gate.fault = "cut-connect"
        reply, seconds = self.timed(self.ask)
        self.assert_unavailable(reply)
        self.assertEqual(reply.headers["retry-after"], "1")
        self.assertEqual(len(self.gate.connects), 2)
        self.assertLess(seconds, 1)

    def test_a_refused_tunnel_is_not_waited_for(self) -> None:
        self.gate.fault = "no-connect"
        reply, seconds = self.timed(self.ask)
        self.assert_unavailable(reply)
        self.assertEqual(len(self.gate.connects), 1)
        self.assertLess(seconds, 0.5)

    def test_a_websocket_waits_to_open_and_with_each_message(self) -> None:
        self.upstream.replies["/ws"] = [SWITCH]
        self.gate.die()
        self.back_after(AWAY_S)
        with self.tunnel("other.test") as s, self.client_tls.wrap_socket(s, server_hostname="other.test") as tls:
            began = time.monotonic()
            tls.sendall(HANDSHAKE)
            self.assertTrue(tls.recv(4096).startswith(b"HTTP/1.1 101"))
            self.assert_delayed(time.monotonic() - began)
            self.gate.die("scan")
            self.back_after(AWAY_S)
            client = Connection(ConnectionType.CLIENT)
            tls.sendall(client.send(wsproto.events.TextMessage("held back and passed on")))
            end = time.monotonic() + AWAY_S + NOTICED_S
            while not self.upstream.after_101 and time.monotonic() < end:
                time.sleep(0.02)
            server = Connection(ConnectionType.SERVER)
            server.receive_data(b"".join(self.upstream.after_101))
            self.assertEqual([e.data for e in server.events()], ["held back and passed on"])

    def test_a_raw_tunnel_waits(self) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"SSH-2.0-test\r\n" + await reader.read(100))
            writer.close()

        self.gate.targets["git.test:22"] = LOOP.listen(serve)
        self.gate.die()
        self.back_after(AWAY_S)
        began = time.monotonic()
        with self.tunnel("git.test", 22) as s:
            s.sendall(b"SSH-2.0-client\r\n")
            got = b""
            while b"SSH-2.0-client" not in got:
                piece = s.recv(4096)
                self.assertTrue(piece, got)
                got += piece
        self.assert_delayed(time.monotonic() - began)


class NothingTwice(AwayScene):
    def test_a_request_without_an_answer_is_refused_and_not_repeated(self) -> None:
        self.upstream.replies["/held"] = [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]
        self.upstream.pause_s = 5
        answer = later(self.timed, self.ask, "POST", "/held", "payload")
        self._until_arrived()
        self.gate.die()
        self.back_after(0.3)
        reply, seconds = answer.result()
        self.assertEqual((reply.status, reply.headers["x-bottle-verdict"]), (503, "unavailable"))
        self.assertEqual(reply.headers["retry-after"], "1")
        self.assertEqual(json.loads(reply.body)["rule_ids"], ["BOTTLE-upstream"])
        self.assertLess(seconds, 2)
        time.sleep(0.8)
        self.assertEqual(len(self.upstream.arrived), 1)

    def test_an_answer_that_has_begun_is_cut(self) -> None:
        self.upstream.replies["/begun"] = [b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nten bytes.", b"ten bytes."]
        self.upstream.pause_s = 5
        connection = self.connection()
        connection.request("POST", "/begun", "payload")
        response = connection.getresponse()
        self.assertEqual(response.read(10), b"ten bytes.")
        self.gate.die()
        self.back_after(0.3)
        with self.assertRaises((http.client.IncompleteRead, OSError)):
            response.read()
        time.sleep(0.8)
        self.assertEqual(len(self.upstream.arrived), 1)

    def test_a_kept_connection_goes_on_after_the_gate_is_back(self) -> None:
        connection = self.connection()
        for _ in range(2):
            connection.request("GET", "/")
            self.assertEqual(connection.getresponse().read(), b"ok")
            self.gate.die()
            self.gate.come_back()
        self.assertEqual(len(self.upstream.arrived), 2)

    def _until_arrived(self) -> None:
        end = time.monotonic() + 3
        while not self.upstream.arrived and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(len(self.upstream.arrived), 1)

    def test_a_tunnel_cut_in_its_tls_handshake_does_not_spoil_the_agents_connection(self) -> None:
        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.close()

        good = self.gate.targets["api.test:443"]
        self.gate.targets["api.test:443"] = LOOP.listen(cut)
        self.addCleanup(self.gate.targets.__setitem__, "api.test:443", good)
        context = ssl.create_default_context(cadata=self.config["ca"]["certificate_pem"])
        context.set_alpn_protocols(["h2"])
        with self.tunnel("api.test") as s, context.wrap_socket(s, server_hostname="api.test") as tls:
            connection = h2.connection.H2Connection(h2.config.H2Configuration())
            connection.initiate_connection()
            first = self._over_h2(tls, connection)
            self.assertEqual((first[":status"], first["x-bottle-verdict"], first["retry-after"]), ("503", "unavailable", "1"))
            self.gate.targets["api.test:443"] = good
            self.assertEqual(self._over_h2(tls, connection)[":status"], "200")

    def _over_h2(self, tls: ssl.SSLSocket, connection: h2.connection.H2Connection) -> dict[str, str]:
        stream = connection.get_next_available_stream_id()
        headers = [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "api.test")]
        connection.send_headers(stream, headers, end_stream=True)
        tls.sendall(connection.data_to_send())
        shown: dict[str, str] = {}
        while True:
            data = tls.recv(65536)
            self.assertTrue(data)
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    shown = {k.decode(): v.decode() for k, v in event.headers}
                if isinstance(event, h2.events.StreamEnded):
                    return shown


class Changes(AwayScene):
    """A halt or another policy during the wait counts when the wait ends."""

    def setUp(self) -> None:
        self.interceptor.send({"op": "resume"})
        self.interceptor.wait("resumed")
        super().setUp()

    def narrow(self) -> None:
        generation = time.monotonic_ns()
        line = {"op": "policy", "exact_secrets": [], "credentials": {"TOKEN": REAL}}
        self.interceptor.send({**line, "policy": policy(generation=generation, allowlist=["other.test"])})
        self.interceptor.wait("policy", generation=generation)
        self.addCleanup(self.interceptor.wait, "policy", generation=generation + 1)
        self.addCleanup(self.interceptor.send, {**line, "policy": policy(generation=generation + 1)})

    def halt(self) -> None:
        self.interceptor.send({"op": "halt"})
        self.interceptor.wait("halted")

    def halt_for_a_moment(self) -> None:
        self.halt()
        self.interceptor.send({"op": "resume"})
        self.interceptor.wait("resumed")

    def _refused(self, change: Callable[[], None], away: Callable[[], None]) -> None:
        away()
        answer = later(self.ask)
        time.sleep(0.5)
        self.assertFalse(answer.done())
        change()
        self.gate.come_back()
        reply = answer.result()
        self.assertEqual(reply.status, 503, reply.body)
        self.assertEqual(self.upstream.arrived, [])

    def test_before_the_verdict(self) -> None:
        for change in (self.halt_for_a_moment, self.halt, self.narrow):
            with self.subTest(change=change.__name__):
                self._refused(change, self.gate.die)
                self.interceptor.send({"op": "resume"})
                self.interceptor.wait("resumed")

    def _after_the_verdict(self) -> None:
        self.gate.on_scan = lambda: (setattr(self.gate, "on_scan", lambda: None), self.gate.die("proxy"))

    def test_after_the_verdict_and_before_the_tunnel(self) -> None:
        for change in (self.halt_for_a_moment, self.halt, self.narrow):
            with self.subTest(change=change.__name__):
                self._refused(change, self._after_the_verdict)
                self.assertEqual(self.gate.connects, [])
                self.interceptor.send({"op": "resume"})
                self.interceptor.wait("resumed")

    def test_a_gate_with_another_policy(self) -> None:
        self.assertEqual(self.post('["remembered"]').status, 200)
        self.upstream.arrived.clear()
        self.gate.asked = 0
        self.gate.die()
        answer = later(self.ask)
        time.sleep(0.3)
        self.gate.identity = {**self.gate.identity, "config_hash": "1" * 64}
        self.gate.come_back()
        self.assertEqual(answer.result().status, 503)
        self.gate.texts.clear()
        self.assertEqual(self.post('["remembered"]').status, 200)
        self.assertIn("remembered", "".join(self.gate.texts))

    def test_a_gate_that_was_replaced_while_nobody_asked(self) -> None:
        for changed in (False, True):
            with self.subTest(changed=changed):
                self.assertEqual(self.post('["remembered"]').status, 200)
                self.gate.die()
                if changed:
                    self.gate.identity = {**self.gate.identity, "config_hash": "2" * 64}
                self.gate.come_back()
                self.gate.texts.clear()
                if changed:
                    self.assertEqual(self.ask().status, 503)
                self.assertEqual(self.post('["remembered"]').status, 200)
                self.assertEqual("remembered" in "".join(self.gate.texts), changed)


class Bounds(AwayScene):
    config_changes = {"gate_wait_s": 1.5}
    prelude = """
import bottle_addon.gate as gate
gate.MOST_WAITING = 4
gate.MOST_HELD_BYTES = 1 << 20
"""

    def test_the_wait_ends(self) -> None:
        for how in (lambda: None, self.gate.swallow, self.gate.fall_silent):
            self.gate.die()
            how()
            for _ in range(2):
                reply, seconds = self.timed(self.ask)
                self.assert_unavailable(reply)
                self.assertEqual(reply.headers["retry-after"], "1")
                self.assertGreater(seconds, 1.2)
                self.assertLess(seconds, 2.8)
            self.gate.come_back()
            self.assertEqual(self.ask().status, 200)
            self.upstream.arrived.clear()

    def test_the_opening_of_a_tunnel_ends_too(self) -> None:
        self.gate.on_scan = lambda: (setattr(self.gate, "on_scan", lambda: None), self.gate.die("proxy"))
        reply, seconds = self.timed(self.ask)
        self.assert_unavailable(reply)
        self.assertGreater(seconds, 1.2)
        self.assertLess(seconds, 2.8)
        self.interceptor.wait("audit", verdict="unavailable", host="api.test")

    def test_only_so_many_wait(self) -> None:
        self.gate.die()
        waiting = [later(self.ask) for _ in range(4)]
        time.sleep(0.5)
        reply, seconds = self.timed(self.ask)
        self.assert_unavailable(reply)
        self.assertIn(b"too many", reply.body)
        self.assertLess(seconds, 0.5)
        self.gate.come_back()
        self.assertEqual([answer.result().status for answer in waiting], [200] * 4)

    def test_only_so_many_bytes_are_held(self) -> None:
        self.gate.die()
        large = "word " * (100 << 10)
        waiting = later(self.post, large, "text/plain")
        time.sleep(0.5)
        reply, seconds = self.timed(self.post, large, "text/plain")
        self.assert_unavailable(reply)
        self.assertIn(b"too many", reply.body)
        self.assertLess(seconds, 0.5)
        small = later(self.ask)
        time.sleep(0.1)
        self.gate.come_back()
        self.assertEqual((waiting.result().status, small.result().status), (200, 200))


class Signs(AwayScene):
    """Probes and pings."""

    def probe(self, **line: Any) -> tuple[dict[str, Any], float]:
        probe_id = time.monotonic_ns()
        self.interceptor.send({"op": "probe", "id": probe_id, **line})
        return self.timed(self.interceptor.wait, "probe", id=probe_id)

    def test_a_dead_gate_is_told_apart(self) -> None:
        for how in (lambda: None, self.gate.swallow, self.gate.fall_silent):
            self.gate.die()
            how()
            waiting = later(self.ask)
            time.sleep(0.1)
            event, seconds = self.probe()
            self.assertLess(seconds, 2.5)
            self.assertFalse(event["ok"])
            expected = {"gate_health": False, "gate_refuses": False, "scan_denies": False, "proxy_denies": True}
            self.assertEqual({k: event["checks"][k] for k in expected}, expected)
            self.gate.come_back()
            self.assertEqual(waiting.result().status, 200)
            self.assertTrue(self.probe()[0]["ok"])

    def test_a_probe_does_not_stand_in_line(self) -> None:
        self.gate.fault = "slow"
        busy = [later(self.post, json.dumps([f"busy {n}"])) for n in range(16)]
        time.sleep(0.3)
        self.gate.fault = ""
        event, seconds = self.probe()
        self.assertTrue(event["ok"], event)
        self.assertLess(seconds, 0.6)
        for answer in busy:
            answer.result()

    def test_a_quiet_probe_leaves_no_audit_lines(self) -> None:
        self.probe()
        self.assertTrue([e for e in self.interceptor.events if e.get("probe")])
        count = len([e for e in self.interceptor.events if e["event"] == "audit"])
        event, _ = self.probe(quiet=True)
        self.assertTrue(event["ok"], event)
        self.gate.die()
        self.assertFalse(self.probe(quiet=True)[0]["ok"])
        self.gate.come_back()
        self.assertEqual(len([e for e in self.interceptor.events if e["event"] == "audit"]), count)
        self.ask()
        self.interceptor.wait("audit", host="api.test", verdict="allow", probe=False)

    def test_no_byte_of_a_probe_leaves(self) -> None:
        self.gate.connects.clear()
        self.assertTrue(self.probe(quiet=True)[0]["ok"])
        self.assertEqual((self.upstream.arrived, self.gate.connects), ([], ["CONNECT deny-probe.invalid:443 HTTP/1.1"]))

    def test_ping(self) -> None:
        self.gate.die()
        waiting = later(self.ask)
        time.sleep(0.1)
        self.interceptor.send({"op": "ping", "id": 8})
        _, seconds = self.timed(self.interceptor.wait, "pong", id=8)
        self.assertLess(seconds, 0.5)
        self.gate.come_back()
        waiting.result()
        for line in ({"op": "ping"}, {"op": "ping", "id": "8"}, {"op": "probe", "id": True}):
            self.interceptor.send(line)
            self.interceptor.wait("fault", where="control")


class BrokenInterceptor(AwayScene):
    prelude = """
import bottle_addon.guard as guard
original = guard.check_transport
def check_transport(flow, policy):
    if flow.request.path == "/" and "x-whole" not in flow.request.headers:
        raise KeyError
    return original(flow, policy)
guard.check_transport = check_transport
"""

    def ask(self, *args: Any, **kwargs: Any) -> Reply:
        return super().ask(*args, **{"headers": {"X-Whole": "1"}, **kwargs})

    def test_is_told_apart(self) -> None:
        self.interceptor.send({"op": "probe", "id": 1})
        checks = self.interceptor.wait("probe", id=1)["checks"]
        self.assertEqual((checks["gate_health"], checks["scan_denies"], checks["proxy_allows"]), (True, True, False))


class StuckLoop(Scene):
    prelude = """
import time, bottle_addon.guard as guard
def check_transport(flow, policy):
    time.sleep(1.5)
    raise KeyError
guard.check_transport = check_transport
"""

    def test_a_ping_is_answered_by_the_loop(self) -> None:
        answer = later(self.ask)
        time.sleep(0.4)
        began = time.monotonic()
        self.interceptor.send({"op": "ping", "id": 1})
        self.interceptor.wait("pong", id=1)
        self.assertGreater(time.monotonic() - began, 0.5)
        answer.result()


class OddWaits(unittest.TestCase):
    def test_are_refused(self) -> None:
        for wait in (-1, "5", None, True, 61, float("nan")):
            with self.subTest(wait=wait):
                line = {"version": 1, "ca": {"certificate_pem": "", "private_key_pem": ""}, "bottle": "b",
                        "listen": {"host": "127.0.0.1", "port": 1}, "scan_token": "", "confdir": "/nowhere",
                        "gate": {"host": "127.0.0.1", "proxy_port": 1, "scan_port": 1}, "gate_wait_s": wait,
                        "policy": policy(), "exact_secrets": [], "credentials": {"TOKEN": REAL}}  # fmt: skip
                done = subprocess.run(
                    [sys.executable, "-m", "bottle_addon"], input=json.dumps(line).encode() + b"\n",
                    capture_output=True, timeout=20, env={"PYTHONPATH": str(ADDON)},
                )  # fmt: skip
                self.assertEqual(done.returncode, 2)
                self.assertIn(b"gate_wait_s", done.stderr)


class PatienceMeasured(unittest.IsolatedAsyncioTestCase):
    async def test_waits_side_by_side_count_once(self) -> None:
        patience = Patience(1.0, 0, False)

        async def wait() -> None:
            with patience:
                await asyncio.sleep(0.2)

        await asyncio.gather(*(wait() for _ in range(10)))
        self.assertAlmostEqual(patience.left_s(), 0.8, delta=0.1)
        await wait()
        self.assertAlmostEqual(patience.left_s(), 0.6, delta=0.15)

    async def test_nobody_waiting_ends_the_look_out(self) -> None:
        gate = Gate(Address("127.0.0.1", 9), 0.2, lambda: None)
        with self.assertRaises(Unavailable):
            await gate.settle(gate.patience("client"))
        await asyncio.sleep(0.6)
        self.assertIsNone(gate._look_out)
        self.assertEqual(len(gate._waiting), 0)
        gate.forget("client")
        self.assertEqual(gate.patience_of("client").left_s(), 0)


if __name__ == "__main__":
    unittest.main()
