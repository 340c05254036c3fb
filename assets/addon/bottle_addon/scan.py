"""Client of the gate's scan API: a bounded pool of keep-alive connections, a deadline for every call.

Only `status == completed` and `decision == allow` is a yes. Everything else that is not a clean deny is
`Unavailable`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from bottle_addon.gate import MOST_ASKS, Gate, Patience
from bottle_addon.refusal import Unavailable
from bottle_addon.settings import Address
from bottle_addon.wire import Answer, CutShort, WireError, read_answer

# What the gate's kernel has not acknowledged by then went to a gate that is no more.
UNACKNOWLEDGED_MS = 2000
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

    def __init__(self, gate: Gate, address: Address, token: str, connections: int, deadline_s: float) -> None:
        self._gate = gate
        self._address = address
        self._token = token
        self._deadline_s = deadline_s
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[_Connection] = []

    async def settle(self, patience: Patience) -> None:
        """Waits while it is not known that the gate is there, and is the one that gave the verdicts remembered."""
        if any(map(_has_ended, self._idle)):
            self._drop_idle()
        await self._gate.settle(patience)

    async def scan(self, kind: str, value: str, request_id: str, patience: Patience) -> Finding:
        """Asks for one verdict; raises `Unavailable` when there is none in time.

        A gate that is away is waited for, as long as patience lasts. One that dies before its answer is asked again:
        a question changes nothing. One that answers anything odd is not.
        """
        asks = 0
        while True:
            await self.settle(patience)
            async with nullcontext() if patience.for_probe else self._slots:
                if self._gate.unsure and not patience.for_probe:
                    continue
                try:
                    async with asyncio.timeout(self._deadline_s):
                        answer = await self._exchange(self._request(kind, value, request_id), patience)
                    return _interpret(answer, kind, request_id)
                except TimeoutError:
                    raise Unavailable("the gate is slow") from None
                except CutShort:
                    asks += 1
                except WireError:
                    raise Unavailable("the gate's answer is not HTTP") from None
                except OSError:
                    pass
            if asks >= MOST_ASKS:
                raise Unavailable("the gate ends the connection without an answer")
            await self._gate.wait(patience)

    def _request(self, kind: str, value: str, request_id: str) -> bytes:
        request = {"kind": kind, "input": {_INPUT_NAME[kind]: value}, "context": {"request_id": request_id}}
        body = json.dumps(request).encode()
        head = (
            f"POST /api/v1/scan HTTP/1.1\r\nHost: {self._address.host}:{self._address.port}\r\n"
            f"Authorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def _exchange(self, request: bytes, patience: Patience) -> Answer:
        if self._idle:
            try:
                return await self._once(self._idle.pop(), request)
            except CutShort:
                self._drop_idle()
                raise
        reader, writer = await self._gate.attempt(self._address, patience)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS)
        return await self._once(_Connection(reader, writer), request)

    def _drop_idle(self) -> None:
        """One kept connection has ended, so the gate may be another: none of the others is trusted either."""
        self._gate.unsure = True
        for connection in self._idle:
            connection.writer.transport.abort()
        self._idle.clear()

    async def _once(self, connection: _Connection, request: bytes) -> Answer:
        done = False
        try:
            connection.writer.write(request)
            await connection.writer.drain()
            answer = await read_answer(connection.reader)
            done = answer.keep_alive
            return answer
        except OSError as error:
            raise CutShort("the request could not be sent") from error
        finally:
            if done:
                self._idle.append(connection)
            else:
                connection.writer.transport.abort()


def _has_ended(connection: _Connection) -> bool:
    return connection.reader.at_eof() or connection.writer.transport.is_closing()
