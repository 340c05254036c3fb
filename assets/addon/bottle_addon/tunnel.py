"""CONNECT through the gate, with patience: while it is away, the opening of a tunnel waits.

Only the opening: once a tunnel stands, bytes may have reached the destination, and nothing is ever sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from mitmproxy.connection import ConnectionState, Server
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy
from mitmproxy.proxy.server import ConnectionHandler

from bottle_addon.gate import MOST_ASKS, Gate, Patience, Streams
from bottle_addon.refusal import Unavailable
from bottle_addon.settings import Address

FORBIDDEN = "what is permitted has just changed"
Opening = Callable[[ConnectionHandler, commands.OpenConnection], Awaitable[None]]
_dialled: ContextVar[Server] = ContextVar("_dialled")


class GateServer(Server):
    """A connection to the gate, and the patience of the request that it is opened for."""

    patience: Patience


def gate_server(gate: Gate, patience: Patience) -> GateServer:
    """Not yet opened."""
    server = GateServer(address=(gate.proxy.host, gate.proxy.port))
    server.patience = patience
    return server


def named(original: Opening) -> Opening:
    """Lets the dialling know which connection it is for; each is opened in a task of its own."""

    @wraps(original)
    async def open_connection(self: ConnectionHandler, command: commands.OpenConnection) -> None:
        _dialled.set(command.connection)
        await original(self, command)

    return open_connection


class PatientAsyncio:
    """What mitmproxy's server module sees as `asyncio`: all of it, but for the one call that dials."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def open_connection(self, host: str, port: int, *, local_addr: tuple[str, int] | None = None) -> Streams:
        """Dials the gate; when it had to wait, what was permitted before must still be."""
        server = _dialled.get()
        if not isinstance(server, GateServer) or (host, port) != (self._gate.proxy.host, self._gate.proxy.port):
            raise OSError("only the gate may be dialled")
        try:
            streams = await self._gate.open(Address(host, port), server.patience, local_addr)
        except Unavailable as error:
            raise OSError(error.reason) from None
        if not self._gate.permits(server.patience):
            streams[1].transport.abort()
            raise OSError(FORBIDDEN)
        return streams


def gate_tunnel(stock: type[HttpUpstreamProxy], gate: Gate) -> type[HttpUpstreamProxy]:
    """The stock layer with patience."""

    class GateTunnel(stock):
        """Sends CONNECT always, and once more when the gate went away before it said anything."""

        tunnel_connection: GateServer

        def __init__(self, context: Context, tunnel_connection: GateServer, send_connect: bool) -> None:
            super().__init__(context, tunnel_connection, send_connect)
            self._asks = 1

        @classmethod
        def make(cls, ctx: Context, send_connect: bool) -> tunnel.LayerStack:
            """Nothing but CONNECT; nothing but the gate."""
            stack = tunnel.LayerStack()
            stack /= cls(ctx, gate_server(gate, gate.patience_of(ctx.client.id)), True)
            return stack

        def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
            unanswered = (
                isinstance(event, events.ConnectionClosed)
                and event.connection == self.tunnel_connection
                and self.tunnel_state is tunnel.TunnelState.ESTABLISHING
                and self.command_to_reply_to is not None
                and not self.buf
            )
            if unanswered and self._asks < MOST_ASKS:
                yield from self._ask_again()
            else:
                yield from super()._handle_event(event)

        def _ask_again(self) -> layer.CommandGenerator[None]:
            self._asks += 1
            gate.unsure = True
            patience = self.tunnel_connection.patience
            if self.tunnel_connection.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(self.tunnel_connection)
            self.tunnel_connection = gate_server(gate, patience)
            error = yield commands.OpenConnection(self.tunnel_connection)
            if error:
                yield from self._handshake_finished(error)
            else:
                yield from self.start_handshake()

        def receive_handshake_data(self, data: bytes) -> layer.CommandGenerator[tuple[bool, str | None]]:
            done, error = yield from super().receive_handshake_data(data)
            if done and not gate.permits(self.tunnel_connection.patience):
                return False, FORBIDDEN
            return done, error

    return GateTunnel
