"""The end-to-end probe: real requests through this process's own port, the gate, and the bottle's own CA."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

from bottle_addon.gate import Gate, Patience, Streams
from bottle_addon.guard import PROBE_HEADER, Guard
from bottle_addon.policy import HTTPS_PORT, Policy
from bottle_addon.refusal import VERDICT_HEADER, Unavailable
from bottle_addon.scan import ScanClient
from bottle_addon.settings import Address, Settings
from bottle_addon.wire import WireError, read_answer, read_head

DENIED_HOST = "deny-probe.invalid"
DEADLINE_S = 2.0
MOST_HOSTS = 8


class ProbeFailure(Exception):
    """A check did not come out as it must; the text says which."""


def probe_hosts(policy: Policy) -> list[str]:
    """Hosts worth trying, those with a fixed address first."""
    exact = [h for h in policy.allowlist if not h.startswith("*.")]
    exact.sort(key=lambda host: host not in policy.extra_hosts)
    return (exact or [f"bottle-probe.{h[2:]}" for h in policy.allowlist])[:MOST_HOSTS]


class Probe:
    """Runs the checks side by side; each opens its own connections and closes them.

    Nothing waits for a gate that is away: `gate_health` is false then, and the answer comes at once. When it is true
    and another check is not, the fault is elsewhere.
    """

    def __init__(self, settings: Settings, guard: Guard, client: ScanClient, gate: Gate) -> None:
        self._guard = guard
        self._client = client
        self._gate = gate
        host = settings.listen.host
        self._own = Address("127.0.0.1" if host in ("", "0.0.0.0") else host, settings.listen.port)
        self._tls = ssl.create_default_context(cadata=settings.ca_certificate_pem)

    async def run(self, probe_id: int, quiet: bool) -> dict[str, Any]:
        """The `probe` event; a quiet one leaves no audit lines."""
        began = time.monotonic()
        checks = {
            "gate_health": self._gate_health(),
            "gate_refuses": self._gate_refuses(),
            "scan_denies": self._scan_denies(),
            "proxy_denies": self._proxy_denies(quiet),
            "proxy_allows": self._proxy_allows(quiet),
        }
        problems = dict(zip(checks, await asyncio.gather(*map(_outcome, checks.values())), strict=True))
        return {
            "event": "probe",
            "id": probe_id,
            "ok": not any(problems.values()),
            "detail": "; ".join(f"{name}: {problem}" for name, problem in problems.items() if problem),
            "ms": round((time.monotonic() - began) * 1000, 2),
            "checks": {name: problem is None for name, problem in problems.items()},
        }

    def _patience(self) -> Patience:
        return Patience(0.0, self._gate.epoch, for_probe=True)

    async def _gate_health(self) -> None:
        answer = await self._gate.health(self._patience())
        _must(answer.status == 200, f"the gate's /health answers {answer.status}")

    async def _gate_refuses(self) -> None:
        reader, writer = await self._gate.attempt(self._gate.proxy, self._patience())
        try:
            status, _ = await _connect(reader, writer, DENIED_HOST)
        finally:
            writer.transport.abort()
        _must(status == 403, f"the gate answers {status} to a host outside the list")

    async def _scan_denies(self) -> None:
        finding = await self._client.scan("url", f"https://{DENIED_HOST}/", "probe", self._patience())
        _must(finding.rule_ids is not None, "the scan API allows a host outside the list")

    @asynccontextmanager
    async def _open_own(self, quiet: bool) -> AsyncIterator[Streams]:
        """A connection to this process itself, known to be a probe's before its first byte."""
        reader, writer = await asyncio.open_connection(self._own.host, self._own.port)
        peer = writer.get_extra_info("sockname")[:2]
        self._guard.probe_peers[peer] = quiet
        try:
            yield reader, writer
        finally:
            writer.transport.abort()
            self._guard.probe_peers.pop(peer, None)

    async def _proxy_denies(self, quiet: bool) -> None:
        async with self._open_own(quiet) as (reader, writer):
            status, headers = await _connect(reader, writer, DENIED_HOST)
        denied = status == 403 and headers.get(VERDICT_HEADER) == "deny"
        _must(denied, f"the proxy answers {status} to a host outside the list")

    async def _proxy_allows(self, quiet: bool) -> None:
        hosts = probe_hosts(self._guard.rules.policy)
        _must(bool(hosts), "the allowlist is empty")
        problems = await asyncio.gather(*(_outcome(self._one_allowed(host, quiet)) for host in hosts))
        _must(None in problems, "no allowed host passes: " + "; ".join(filter(None, problems)))

    async def _one_allowed(self, host: str, quiet: bool) -> None:
        nonce = secrets.token_hex(32)
        async with self._open_own(quiet) as (reader, writer):
            status, _ = await _connect(reader, writer, host)
            _must(status == 200, f"{host}: CONNECT answers {status}")
            await writer.start_tls(self._tls, server_hostname=host)
            self._guard.probe_nonces.add(nonce)
            try:
                writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n{PROBE_HEADER}: {nonce}\r\n\r\n".encode())
                answer = await read_answer(reader)
            finally:
                self._guard.probe_nonces.discard(nonce)
        passed = answer.status == 204 and answer.headers.get(PROBE_HEADER) == nonce
        _must(passed, f"{host}: the request answers {answer.status} {_reason(answer.body)}")


def _reason(body: bytes) -> str:
    """The refusal's own words, shortened; they never quote a request."""
    return body[:300].decode("utf-8", "replace").strip()


def _must(condition: bool, problem: str) -> None:
    if not condition:
        raise ProbeFailure(problem)


async def _connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> tuple[int, dict[str, str]]:
    target = f"{host}:{HTTPS_PORT}"
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    return await read_head(reader)


async def _outcome(check: Awaitable[None]) -> str | None:
    """None when the check passed, else why it did not."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            await check
    except ProbeFailure as failure:
        return str(failure)
    except Unavailable as failure:
        return failure.reason
    except TimeoutError:
        return "no answer in time"
    except (OSError, WireError, ssl.SSLError) as error:
        return type(error).__name__
    return None
