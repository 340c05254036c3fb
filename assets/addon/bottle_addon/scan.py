"""Client of the gate's scan API: a bounded pool of keep-alive connections, a deadline for every call.

Only `status == completed` and `decision == allow` is a yes. Everything else that is not a clean deny is
`Unavailable`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from bottle_addon.refusal import Unavailable
from bottle_addon.settings import Address
from bottle_addon.wire import Answer, WireError, read_answer

CONNECT_DEADLINE_S = 3.0
_KNOWN_FIELDS = frozenset(
    {"status", "decision", "kind", "scan_id", "request_id", "duration_ms", "engine_version", "findings", "errors"}
)
_INPUT_NAME = {"url": "url", "dlp": "text"}


@dataclass(frozen=True)
class Finding:
    """A clean verdict: allowed when `rule_ids` is None."""

    rule_ids: tuple[str, ...] | None
    scan_id: str


@dataclass
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def _interpret(answer: Answer, kind: str, request_id: str) -> Finding:
    if answer.status != 200:
        raise Unavailable(f"the gate answered {answer.status}")
    try:
        data: Any = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise Unavailable("the gate's answer is not JSON") from None
    if not isinstance(data, dict) or not _KNOWN_FIELDS.issuperset(data):
        raise Unavailable("the gate's answer has an unknown form")
    if data.get("status") != "completed" or data.get("kind") != kind or data.get("request_id") != request_id:
        raise Unavailable("the gate did not complete the scan")
    scan_id = data.get("scan_id")
    scan_id = scan_id[:64] if isinstance(scan_id, str) else ""
    findings = data.get("findings") or []
    if data.get("decision") == "allow" and not findings:
        return Finding(None, scan_id)
    if data.get("decision") != "deny" or not isinstance(findings, list):
        raise Unavailable("the gate's decision is unclear")
    rule_ids = [f.get("rule_id") if isinstance(f, dict) else None for f in findings]
    if not rule_ids or not all(isinstance(r, str) for r in rule_ids):
        return Finding(("GATE-unnamed",), scan_id)
    return Finding(tuple(dict.fromkeys(r[:128] for r in rule_ids)), scan_id)


class ScanClient:
    """One per process."""

    def __init__(self, address: Address, token: str, connections: int, deadline_s: float) -> None:
        self._address = address
        self._token = token
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []

    async def scan(self, kind: str, value: str, request_id: str) -> Finding:
        """Asks for one verdict; raises `Unavailable` when there is none in time."""
        request = {"kind": kind, "input": {_INPUT_NAME[kind]: value}, "context": {"request_id": request_id}}
        body = json.dumps(request).encode()
        head = (
            f"POST /api/v1/scan HTTP/1.1\r\nHost: {self._address.host}:{self._address.port}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        try:
            async with self._slots, asyncio.timeout(self._deadline_s):
                answer = await self._exchange(head.encode() + body)
        except TimeoutError:
            raise Unavailable("the gate is slow") from None
        except (OSError, WireError):
            raise Unavailable("the gate cannot be reached") from None
        return _interpret(answer, kind, request_id)

    async def _exchange(self, request: bytes) -> Answer:
        """A kept connection may have been closed meanwhile; then a fresh one gets exactly one try."""
        while self._idle:
            connection = self._idle.pop()
            if connection.reader.at_eof():
                connection.writer.close()
                continue
            try:
                return await self._once(connection, request)
            except (OSError, WireError):
                break
        async with asyncio.timeout(CONNECT_DEADLINE_S):
            reader, writer = await asyncio.open_connection(self._address.host, self._address.port)
        return await self._once(_Connection(reader, writer), request)

    async def _once(self, connection: _Connection, request: bytes) -> Answer:
        done = False
        try:
            connection.writer.write(request)
            await connection.writer.drain()
            answer = await read_answer(connection.reader)
            done = answer.keep_alive
            return answer
        finally:
            if done:
                self._idle.append(connection)
            else:
                connection.writer.transport.abort()
