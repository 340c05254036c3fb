"""The way to the gate: short attempts to connect, and a bounded wait while its container is away.

A gate that dies comes back within seconds, at the same address and with the same configuration. Until then nothing
is allowed, but a new request is worth a short delay rather than a refusal. So whoever finds no gate waits: all of
them for one and the same look-out, which asks for `/health` until there is an answer, each of them no longer than
its `Patience`. What answers is never waited for, however odd the answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

from bottle_addon.refusal import Unavailable
from bottle_addon.settings import Address
from bottle_addon.wire import Answer, CutShort, WireError, read_answer

# A SYN to an address whose container is gone waits for the kernel's neighbour discovery, up to 3 s.
ATTEMPT_S = 0.3
HEALTH_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.25
MOST_WAITING = 256
MOST_HELD_BYTES = 64 << 20
# How often something harmless to repeat is sent in all when the gate's connection ends without an answer. A request
# that the gate dies of must not kill it again and again.
MOST_ASKS = 2
KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT = 5, 1, 3

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Away(ConnectionError):
    """The gate did not take the connection in time."""


class Patience:
    """How long one request may wait for the gate, in all; as a context manager it measures.

    `epoch` says what was permitted when the request began. A probe is told at once what is the matter, and does not
    stand in line for it.
    """

    def __init__(self, bound_s: float, epoch: int, for_probe: bool) -> None:
        self.epoch = epoch
        self.for_probe = for_probe
        self.held_bytes = 0
        self._bound_s = 0.0 if for_probe else bound_s
        self._spent_s = 0.0
        self._since = 0.0
        self._running = 0

    @property
    def bound_s(self) -> float:
        """The whole of it."""
        return self._bound_s

    def left_s(self) -> float:
        """What is left of it; not positive when it is at its end."""
        return self._bound_s - self._spent_s - (time.monotonic() - self._since if self._running else 0.0)

    def __enter__(self) -> Patience:
        if not self._running:
            self._since = time.monotonic()
        self._running += 1
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._running -= 1
        if not self._running:
            self._spent_s += time.monotonic() - self._since


class Gate:
    """One per process.

    It has to say who it is, by all that `/health` tells of it, at the beginning and whenever it may have been away:
    until then no verdict is asked for and no remembered one counts. When it is another than before, or has another
    policy, `on_other` is called and `epoch` changes. `epoch` changes whenever what was permitted may not be any more.
    """

    def __init__(self, proxy: Address, wait_s: float, on_other: Callable[[], None]) -> None:
        self.proxy = proxy
        self.epoch = 0
        self.unsure = True
        self._wait_s = wait_s
        self._on_other = on_other
        self._identity = ""
        self._by_client: dict[str, Patience] = {}
        self._waiting: Counter[Patience] = Counter()
        self._look_out: asyncio.Task[None] | None = None

    # What a request may wait

    def patience(self, client_id: str, for_probe: bool = False) -> Patience:
        """For a request that begins now, and for the connections that are opened because of it."""
        self._by_client[client_id] = Patience(self._wait_s, self.epoch, for_probe)
        return self._by_client[client_id]

    def patience_of(self, client_id: str) -> Patience:
        """That of the last request on this connection of the agent."""
        return self._by_client.get(client_id) or Patience(0.0, self.epoch, False)

    def forget(self, client_id: str) -> None:
        """The agent's connection has ended."""
        self._by_client.pop(client_id, None)

    def permits(self, patience: Patience) -> bool:
        """Whether nothing was forbidden since the request began."""
        return patience.epoch == self.epoch

    # The way

    async def attempt(self, address: Address, patience: Patience, local: tuple[str, int] | None = None) -> Streams:
        """One short attempt to connect; an `OSError` when it fails."""
        try:
            with patience:
                async with asyncio.timeout(ATTEMPT_S):
                    streams = await asyncio.open_connection(address.host, address.port, local_addr=local)
        except TimeoutError:
            self.unsure = True
            raise Away("no answer to the connect") from None
        except OSError:
            self.unsure = True
            raise
        _keep_alive(streams[1].get_extra_info("socket"))
        return streams

    async def open(self, address: Address, patience: Patience, local: tuple[str, int] | None = None) -> Streams:
        """A connection to the gate, now or after a wait; `Unavailable` when patience is at its end."""
        while True:
            await self.settle(patience)
            try:
                return await self.attempt(address, patience, local)
            except OSError:
                await self.wait(patience)

    async def settle(self, patience: Patience) -> None:
        """Waits while it is not known that the gate is there; a probe never does."""
        while self.unsure and not patience.for_probe:
            await self.wait(patience, 0.0)

    async def wait(self, patience: Patience, pause_s: float = FIRST_PAUSE_S) -> None:
        """Until the gate answers again; `Unavailable` when patience is at its end or too much waits already."""
        if patience.left_s() <= 0:
            raise Unavailable("the gate cannot be reached")
        self._admit(patience)
        try:
            if self._look_out is None:
                self._look_out = asyncio.ensure_future(self._watch(pause_s))
            with patience:
                async with asyncio.timeout(patience.left_s()):
                    await asyncio.shield(self._look_out)
        except TimeoutError:
            raise Unavailable("the gate cannot be reached") from None
        finally:
            self._waiting[patience] -= 1
            if not self._waiting[patience]:
                del self._waiting[patience]

    def _admit(self, patience: Patience) -> None:
        """Counts requests and what they hold in memory; one alone may hold as much as the policy lets it."""
        if self._waiting and patience not in self._waiting:
            held = patience.held_bytes + sum(waiting.held_bytes for waiting in self._waiting)
            if len(self._waiting) >= MOST_WAITING or held > MOST_HELD_BYTES:
                raise Unavailable("too many requests wait for the gate")
        self._waiting[patience] += 1

    async def _watch(self, pause_s: float) -> None:
        """Ends when the gate answers, or nobody waits any more."""
        try:
            while True:
                await asyncio.sleep(pause_s)
                if not self._waiting or await self._answers():
                    return
                pause_s = min(max(2 * pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        finally:
            self._look_out = None

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(HEALTH_S):
                await self.health(Patience(0.0, self.epoch, True))
        except (CutShort, OSError):
            return False
        except WireError:
            self._identify(None)
        return True

    async def health(self, patience: Patience) -> Answer:
        """The answer of `/health`, which also says who the gate is."""
        reader, writer = await self.attempt(self.proxy, patience)
        try:
            writer.write(f"GET /health HTTP/1.1\r\nHost: {self.proxy.host}\r\nConnection: close\r\n\r\n".encode())
            answer = await read_answer(reader)
        finally:
            writer.transport.abort()
        self._identify(answer)
        return answer

    def _identify(self, answer: Answer | None) -> None:
        identity = _identity(answer)
        if identity != self._identity:
            if self._identity:
                self.epoch += 1
            self._identity = identity
            self._on_other()
        self.unsure = False


def _identity(answer: Answer | None) -> str:
    """All that `/health` says but its age: the builtin gate tells a hash of its configuration, pipelock its rules."""
    try:
        told = json.loads(answer.body) if answer is not None and answer.status == 200 else None
    except (ValueError, RecursionError):
        told = None
    if isinstance(told, dict):
        told.pop("uptime_seconds", None)
    return json.dumps(told, sort_keys=True)


def _keep_alive(connection: socket.socket) -> None:
    """A gate whose network has vanished says nothing at all: that must show too."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
