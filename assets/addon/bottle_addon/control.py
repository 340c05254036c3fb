"""Standard input after the configuration: one JSON object a line; its end is not a command."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from typing import Any

from bottle_addon.events import EventStream
from bottle_addon.guard import Guard
from bottle_addon.probe import Probe
from bottle_addon.refusal import Unavailable
from bottle_addon.settings import SettingsError, decode_line, parse_rules

LONGEST_LINE = 8 << 20
log = logging.getLogger("bottle_addon")


class LineReader:
    """Reads lines of a descriptor in a thread, so that pipes, terminals and /dev/null all work."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        threading.Thread(target=self._pump, daemon=True, name="stdin").start()

    def _pump(self) -> None:
        buffer = bytearray()
        try:
            while chunk := os.read(self._fd, 1 << 16):
                buffer += chunk
                while (end := buffer.find(b"\n")) >= 0:
                    self._hand_over(bytes(buffer[:end]))
                    del buffer[: end + 1]
                if len(buffer) > LONGEST_LINE:
                    break
        except OSError:
            pass
        if buffer and len(buffer) <= LONGEST_LINE:
            self._hand_over(bytes(buffer))
        self._hand_over(None)

    def _hand_over(self, line: bytes | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._lines.put_nowait, line)
        except RuntimeError:
            pass

    async def line(self) -> bytes | None:
        """The next line, or None once and for all at the end."""
        return await self._lines.get()


class Control:
    """Carries out control lines; a line that cannot be used changes nothing."""

    def __init__(self, guard: Guard, probe: Probe, out: EventStream) -> None:
        self._guard = guard
        self._probe = probe
        self._out = out
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, lines: LineReader) -> None:
        """Runs until standard input ends."""
        while (line := await lines.line()) is not None:
            if not line.strip():
                continue
            try:
                self._apply(decode_line(line))
            except SettingsError as error:
                log.error("control line refused: %s", error)
                self._post({"event": "fault", "where": "control", "error": str(error)})
            except Exception as error:
                self._guard.fault("control", error)

    def _apply(self, command: dict[str, Any]) -> None:
        match command.get("op"):
            case "halt":
                self._guard.halt()
                self._post({"event": "halted"})
            case "resume":
                self._guard.resume()
                self._post({"event": "resumed"})
            case "policy":
                rules = parse_rules(command)
                if rules.policy.generation <= self._guard.rules.policy.generation:
                    raise SettingsError("the policy's generation is not newer than the one in force")
                self._guard.use(rules)
                self._post({"event": "policy", "generation": rules.policy.generation})
            case "probe":
                task = asyncio.ensure_future(self._run_probe(_id_of(command), command.get("quiet") is True))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case "ping":
                self._post({"event": "pong", "id": _id_of(command)})
            case _:
                raise SettingsError("unknown op")

    async def _run_probe(self, probe_id: int, quiet: bool) -> None:
        try:
            await self._guard.started.wait()
            self._post(await self._probe.run(probe_id, quiet))
        except Exception as error:
            self._guard.fault("probe", error)

    def _post(self, event: dict[str, Any]) -> None:
        try:
            self._out.post(event)
        except Unavailable:
            log.error("an event could not be written")


def _id_of(command: dict[str, Any]) -> int:
    if type(command.get("id")) is not int:
        raise SettingsError("field 'id' must be an integer")
    return command["id"]
