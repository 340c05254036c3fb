"""Broken machinery: whatever fails, the answer is no."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
import unittest
from pathlib import Path

from bench import ADDON, AWS_KEY, REAL, Gate, Scene, free_port, policy


class ScanFaults(Scene):
    def test_every_fault_of_the_scan_api_is_a_503(self) -> None:
        for fault in (
            "reset", "slow", "half", "garbage", "error", "unknown-field", "wrong-id", "odd-decision", "allow-with-findings",
        ):  # fmt: skip
            with self.subTest(fault=fault):
                self.gate.fault = fault
                self.assert_unavailable(self.ask())
                self.interceptor.wait("audit", verdict="unavailable")
        self.gate.fault = ""
        self.assertEqual(self.ask().status, 200)

    def test_wrong_token(self) -> None:
        self.gate.token, token = "other", self.gate.token
        self.addCleanup(setattr, self.gate, "token", token)
        self.assert_unavailable(self.ask())


class NoGate(Scene):
    @classmethod
    def setUpClass(cls) -> None:
        original = Gate.__init__

        def patched(self, allow, token):
            original(self, allow, token)
            self.scan_port = free_port()

        Gate.__init__ = patched
        try:
            super().setUpClass()
        finally:
            Gate.__init__ = original

    def test_scan_api_down(self) -> None:
        self.assert_unavailable(self.ask())


class Crashes(Scene):
    prelude = """
import bottle_addon.transport, bottle_addon.guard as guard, bottle_addon.policy as policy
original = guard.check_transport
def check_transport(flow, policy):
    if flow.request.path == "/crash":
        raise KeyError("secret-in-a-message")
    if flow.request.path == "/exit":
        raise BaseException("harder")
    return original(flow, policy)
guard.check_transport = check_transport
prepare = guard.Guard._prepare_response
def prepare_response(self, flow):
    if flow.request.path == "/late":
        raise KeyError("late")
    return prepare(self, flow)
guard.Guard._prepare_response = prepare_response
destination = policy.Policy.check_destination
def check_destination(self, host, port):
    if host == "crash.test":
        raise ZeroDivisionError
    return destination(self, host, port)
policy.Policy.check_destination = check_destination
"""

    def test_crash_in_the_request_hook(self) -> None:
        self.assert_unavailable(self.ask(path="/crash"))
        fault = self.interceptor.wait("fault", where="request")
        self.assertEqual(fault["error"], "KeyError")
        self.assertNotIn("secret-in-a-message", self.interceptor.log() + json.dumps(self.interceptor.events))
        self.assertEqual(self.ask().status, 200)

    def test_crash_in_the_connect_hook(self) -> None:
        answer = self.raw(b"CONNECT crash.test:443 HTTP/1.1\r\nHost: crash.test:443\r\n\r\n")
        self.assertIn(b" 503 ", answer)
        self.assertEqual(self.gate.connects, [])

    def test_crash_in_the_response_hook(self) -> None:
        with self.assertRaises((http.client.HTTPException, OSError)):
            self.ask(path="/late")


class Controls(Scene):
    def setUp(self) -> None:
        super().setUp()
        self.interceptor.send({"op": "resume"})
        self.interceptor.wait("resumed")

    def test_halt_and_resume(self) -> None:
        self.interceptor.send({"op": "halt"})
        self.interceptor.wait("halted")
        answer = self.raw(b"CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n\r\n")
        self.assertIn(b" 503 ", answer)
        self.interceptor.send({"op": "resume"})
        self.interceptor.wait("resumed")
        self.assertEqual(self.ask().status, 200)

    def test_halt_stops_an_open_connection(self) -> None:
        connection = self.connection()
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().read(), b"ok")
        self.interceptor.send({"op": "halt"})
        self.interceptor.wait("halted")
        connection.request("GET", "/")
        self.assertEqual(connection.getresponse().status, 503)

    def test_policy_change_and_broken_policy(self) -> None:
        line = {"op": "policy", "exact_secrets": [], "credentials": {"TOKEN": REAL}}
        self.assertEqual(self.post('["once"]', host="other.test").status, 200)
        generation = 2 + int(time.time())
        narrow = policy(generation=generation, allowlist=["api.test"])
        self.interceptor.send({**line, "policy": narrow})
        self.interceptor.wait("policy", generation=generation)
        answer = self.raw(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n")
        self.assertIn(b" 403 ", answer)
        for broken in (
            {**line, "policy": {**narrow, "generation": generation + 1, "dlp_action": "maybe"}},
            {**line, "policy": {**narrow, "generation": generation + 1, "allowlist": ["*"]}},
            {**line, "policy": narrow},
            {**line, "credentials": {}, "policy": {**narrow, "generation": generation + 1}},
            {"op": "open sesame"},
            [],
        ):
            self.interceptor.send(broken)
            self.interceptor.wait("fault", where="control")
        self.assertIn(b" 403 ", self.raw(b"CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\n"))
        self.interceptor.send({**line, "policy": policy(generation=generation + 1)})
        self.interceptor.wait("policy", generation=generation + 1)
        self.gate.texts.clear()
        self.assertEqual(self.post('["once"]', host="other.test").status, 200)
        self.assertTrue(self.gate.texts, "verdicts of the old policy must be forgotten")

    def test_probe(self) -> None:
        self.interceptor.send({"op": "probe", "id": 7})
        event = self.interceptor.wait("probe", id=7)
        self.assertTrue(event["ok"], event)
        self.assertEqual(self.upstream.arrived, [])
        self.assertLess(event["ms"], 3000)
        self.assertTrue(all(e["probe"] for e in self.interceptor.events if e.get("host") == "deny-probe.invalid"))

    def test_probe_fails_when_a_part_is_broken(self) -> None:
        for fault, check in (("garbage", "proxy_allows"), ("no-connect", None)):
            self.gate.fault = fault
            self.interceptor.send({"op": "probe", "id": 8})
            event = self.interceptor.wait("probe", id=8)
            if check is not None:
                self.assertFalse(event["ok"])
                self.assertFalse(event["checks"][check])
        self.gate.fault = ""
        allow, self.gate.allow = self.gate.allow, {"deny-probe.invalid"}
        self.addCleanup(setattr, self.gate, "allow", allow)
        self.interceptor.send({"op": "probe", "id": 9})
        event = self.interceptor.wait("probe", id=9)
        self.assertEqual((event["checks"]["scan_denies"], event["checks"]["proxy_allows"]), (False, False))

    def test_key_is_not_left_on_disk(self) -> None:
        files = list(Path(self.confdir.name).rglob("*"))
        self.assertFalse([f.name for f in files if "PRIVATE KEY" in f.read_text(errors="replace")])

    def test_nothing_secret_in_argv_environment_or_output(self) -> None:
        self.ask()
        process = Path(f"/proc/{self.interceptor.process.pid}")
        shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        shown += json.dumps(self.interceptor.events).encode() + self.interceptor.log().encode()
        for secret in (REAL, self.gate.token, self.config["ca"]["private_key_pem"][40:90]):
            self.assertNotIn(secret.encode(), shown)


class ClosedStdin(Scene):
    def test_end_of_stdin_is_normal(self) -> None:
        self.interceptor.process.stdin.close()
        time.sleep(0.3)
        self.assertEqual(self.ask().status, 200)


class BlockedStdout(Scene):
    def test_full_audit_stream_denies(self) -> None:
        self.interceptor.read_stdout.clear()
        statuses = set()
        connection = self.connection()
        for _ in range(600):
            connection.request("GET", "/" + "x" * 900)
            response = connection.getresponse()
            response.read()
            statuses.add(response.status)
            if response.status != 200:
                break
        self.assertEqual(response.status, 503)
        count = len(self.upstream.arrived)
        self.assert_status_without_arrival(count)
        self.interceptor.read_stdout.set()
        time.sleep(0.5)
        self.assertEqual(self.ask().status, 200)

    def assert_status_without_arrival(self, count: int) -> None:
        self.assertEqual(self.ask().status, 503)
        self.assertEqual(len(self.upstream.arrived), count)


class BrokenStdout(Scene):
    def test_closed_audit_stream_denies(self) -> None:
        self.assertEqual(self.ask().status, 200)
        self.interceptor.read_stdout.clear()
        self.ask()
        self.interceptor.process.stdout.close()
        self.upstream.arrived.clear()
        try:
            self.assertIn(self.ask().status, (503,))
        except OSError:
            pass
        self.assertEqual(self.upstream.arrived, [])


class Unusable(unittest.TestCase):
    def test_bad_first_lines(self) -> None:
        for line in (
            b"",
            b"not json\n",
            b"[]\n",
            b'{"version": 2}\n',
            b'{"version": 1, "secret": "' + AWS_KEY.encode() + b'"}\n',
        ):
            with self.subTest(line=line):
                done = subprocess.run(
                    [sys.executable, "-m", "bottle_addon"],
                    input=line,
                    capture_output=True,
                    timeout=20,
                    env={"PYTHONPATH": str(ADDON)},
                )
                self.assertEqual(done.returncode, 2)
                self.assertEqual(done.stdout, b"")
                self.assertNotIn(AWS_KEY.encode(), done.stderr)


class Lean(unittest.TestCase):
    def test_what_is_of_no_use_is_not_loaded(self) -> None:
        check = "import sys, bottle_addon.main; print([n for n in ('flask', 'ldap3', 'tornado', 'urwid') if n in sys.modules])"
        done = subprocess.run(
            [sys.executable, "-c", check], capture_output=True, timeout=20, env={"PYTHONPATH": str(ADDON)}
        )
        self.assertEqual(done.stdout.strip(), b"[]", done.stderr)


if __name__ == "__main__":
    unittest.main()
