"""The one raw tunnel: SSH-2 to exactly the hosts and ports of the policy, counted, never read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.tcp import TCPLayer, TcpMessageInjected
from mitmproxy.proxy.utils import expect

BANNER = b"SSH-2.0-"


def is_banner(data: bytes) -> bool | None:
    """True or False once decided, None while `data` is only a beginning of the banner."""
    if data.startswith(BANNER):
        return True
    return None if BANNER.startswith(data) else False


@dataclass
class Tally:
    """What went through a tunnel; `refused` names why it was cut."""

    sent: int = 0
    received: int = 0
    refused: str = ""


class SshTunnel(TCPLayer):
    """Relays bytes once both sides have shown an SSH-2 banner.

    `permitted` is asked before every chunk, `finished` gets the tally exactly once.
    """

    def __init__(self, context: Context, permitted: Callable[[], bool], finished: Callable[[Tally], None]) -> None:
        super().__init__(context, ignore=True)
        self._permitted = permitted
        self._finished: Callable[[Tally], None] | None = finished
        self._tally = Tally()
        self._openings = {True: b"", False: b""}
        self._open = {True: False, False: False}

    @expect(events.Start)
    def start_tunnel(self, event: events.Start) -> layer.CommandGenerator[None]:
        """Opens the upstream connection."""
        yield from super().start(event)
        if self._handle_event == self.done:
            self._finish("unreachable")

    _handle_event = start_tunnel

    def _finish(self, refused: str = "") -> None:
        if self._finished is not None:
            report, self._finished = self._finished, None
            self._tally.refused = refused
            report(self._tally)

    def _admit(self, from_client: bool, data: bytes) -> bytes | None:
        """What may be passed on now; None cuts the tunnel."""
        if not self._permitted():
            return None
        if not self._open[from_client]:
            data = self._openings[from_client] + data
            shown = is_banner(data)
            if shown is None:
                self._openings[from_client] = data
                return b""
            self._openings[from_client] = b""
            self._open[from_client] = shown
            if not shown:
                return None
        if from_client:
            self._tally.sent += len(data)
        else:
            self._tally.received += len(data)
        return data

    @expect(events.DataReceived, events.ConnectionClosed, TcpMessageInjected)
    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Passes one chunk or one end on."""
        if not isinstance(event, events.DataReceived):
            yield from super().relay_messages(event)
            if self._handle_event == self.done:
                self._finish()
            return
        from_client = event.connection == self.context.client
        data = self._admit(from_client, event.data)
        if data is None:
            self._handle_event = self.done
            yield commands.CloseConnection(self.context.server)
            yield commands.CloseConnection(self.context.client)
            self._finish("BOTTLE-ssh-banner" if self._permitted() else "BOTTLE-halt")
        elif data:
            yield commands.SendData(self.context.server if from_client else self.context.client, data)
