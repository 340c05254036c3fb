"""The end-to-end probe: real requests through this process's own port, the gate, and the bottle's own CA."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Awaitable
from typing import Any

from bottle_addon.guard import PROBE_HEADER, Guard
from bottle_addon.policy import HTTPS_PORT, Policy
from bottle_addon.refusal import VERDICT_HEADER, Unavailable
from bottle_addon.scan import ScanClient
from bottle_addon.settings import Address, Settings
from bottle_addon.wire import WireError, read_answer, read_head

DENIED_HOST = "deny-probe.invalid"
DEADLINE_S = 10.0
MOST_HOSTS = 8


class ProbeFailure(Exception):
    """A check did not come out as it must; the text says which."""


def probe_hosts(policy: Policy) -> list[str]:
    """Hosts worth trying, those with a fixed address first."""
    exact = [h for h in policy.allowlist if not h.startswith("*.")]
    exact.sort(key=lambda host: host not in policy.extra_hosts)
    return (exact or [f"bottle-probe.{h[2:]}" for h in policy.allowlist])[:MOST_HOSTS]


class Probe:
    """Runs the checks; each opens its own connections and closes them."""

    def __init__(self, settings: Settings, guard: Guard, client: ScanClient) -> None:
        self._guard = guard
        self._client = client
        self._gate = settings.gate_proxy
        host = settings.listen.host
        self._own = Address("127.0.0.1" if host in ("", "0.0.0.0") else host, settings.listen.port)
        self._tls = ssl.create_default_context(cadata=settings.ca_certificate_pem)

    async def run(self, probe_id: int) -> dict[str, Any]:
        """The `probe` event."""
        began = time.monotonic()
        checks: dict[str, bool] = {}
        details = []
        for name, check in (
            ("gate_health", self._gate_health),
            ("gate_refuses", self._gate_refuses),
            ("scan_denies", self._scan_denies),
            ("proxy_denies", self._proxy_denies),
            ("proxy_allows", self._proxy_allows),
        ):
            problem = await _outcome(check())
            checks[name] = problem is None
            if problem is not None:
                details.append(f"{name}: {problem}")
        return {
            "event": "probe",
            "id": probe_id,
            "ok": all(checks.values()),
            "detail": "; ".join(details),
            "ms": round((time.monotonic() - began) * 1000, 2),
            "checks": checks,
        }

    async def _gate_health(self) -> None:
        reader, writer = await asyncio.open_connection(self._gate.host, self._gate.port)
        try:
            writer.write(f"GET /health HTTP/1.1\r\nHost: {self._gate.host}\r\nConnection: close\r\n\r\n".encode())
            answer = await read_answer(reader)
        finally:
            writer.transport.abort()
        _must(answer.status == 200, f"the gate's /health answers {answer.status}")

    async def _gate_refuses(self) -> None:
        reader, writer = await asyncio.open_connection(self._gate.host, self._gate.port)
        try:
            status, _ = await _connect(reader, writer, DENIED_HOST)
        finally:
            writer.transport.abort()
        _must(status == 403, f"the gate answers {status} to a host outside the list")

    async def _scan_denies(self) -> None:
        finding = await self._client.scan("url", f"https://{DENIED_HOST}/", "probe")
        _must(finding.rule_ids is not None, "the scan API allows a host outside the list")

    async def _open_own(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._own.host, self._own.port)
        self._guard.probe_peers.add(writer.get_extra_info("sockname")[:2])
        return reader, writer

    def _close_own(self, writer: asyncio.StreamWriter, peer: tuple[str, int]) -> None:
        writer.transport.abort()
        self._guard.probe_peers.discard(peer)

    async def _proxy_denies(self) -> None:
        reader, writer = await self._open_own()
        peer = writer.get_extra_info("sockname")[:2]
        try:
            status, headers = await _connect(reader, writer, DENIED_HOST)
        finally:
            self._close_own(writer, peer)
        denied = status == 403 and headers.get(VERDICT_HEADER) == "deny"
        _must(denied, f"the proxy answers {status} to a host outside the list")

    async def _proxy_allows(self) -> None:
        hosts = probe_hosts(self._guard.rules.policy)
        _must(bool(hosts), "the allowlist is empty")
        problems = await asyncio.gather(*(_outcome(self._one_allowed(host)) for host in hosts))
        _must(None in problems, "no allowed host passes: " + "; ".join(filter(None, problems)))

    async def _one_allowed(self, host: str) -> None:
        nonce = secrets.token_hex(32)
        reader, writer = await self._open_own()
        peer = writer.get_extra_info("sockname")[:2]
        self._guard.probe_nonces.add(nonce)
        try:
            status, _ = await _connect(reader, writer, host)
            _must(status == 200, f"{host}: CONNECT answers {status}")
            await writer.start_tls(self._tls, server_hostname=host)
            writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n{PROBE_HEADER}: {nonce}\r\n\r\n".encode())
            answer = await read_answer(reader)
        finally:
            self._guard.probe_nonces.discard(nonce)
            self._close_own(writer, peer)
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
