"""Standard output: one JSON object a line. When a line cannot be written, no traffic may pass."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from bottle_addon.refusal import Unavailable

MOST_PENDING_BYTES = 1 << 20


class EventStream:
    """Writes lines to a file descriptor without ever blocking the loop."""

    def __init__(self, fd: int, deadline_s: float = 2.0) -> None:
        self._fd = fd
        self.deadline_s = deadline_s
        self._pending = bytearray()
        self._written = asyncio.Event()
        self._written.set()
        self._dead = False
        self._watching = False
        os.set_blocking(fd, False)

    @property
    def broken(self) -> bool:
        """The reader is gone for good."""
        return self._dead

    async def put(self, event: dict[str, Any]) -> None:
        """Returns once the line has left the process; raises `Unavailable` when it cannot."""
        self.post(event)
        try:
            async with asyncio.timeout(self.deadline_s):
                await self._written.wait()
        except TimeoutError:
            raise Unavailable("the audit stream is blocked") from None
        if self._dead:
            raise Unavailable("the audit stream is broken")

    def post(self, event: dict[str, Any]) -> None:
        """Queues a line that nobody waits for."""
        if self._dead:
            raise Unavailable("the audit stream is broken")
        if len(self._pending) > MOST_PENDING_BYTES:
            raise Unavailable("the audit stream is blocked")
        self._pending += json.dumps(event, separators=(",", ":")).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        try:
            while self._pending:
                del self._pending[: os.write(self._fd, self._pending)]
        except BlockingIOError:
            self._written.clear()
            if not self._watching:
                asyncio.get_running_loop().add_writer(self._fd, self._flush)
                self._watching = True
            return
        except OSError:
            self._dead = True
            self._pending.clear()
        if self._watching:
            asyncio.get_running_loop().remove_writer(self._fd)
            self._watching = False
        self._written.set()
