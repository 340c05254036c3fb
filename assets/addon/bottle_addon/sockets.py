"""Websockets: control frames carry nothing of the agent's, and a refused message ends the connection."""

from __future__ import annotations

from collections import deque

import wsproto
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.utils import expect
from wsproto.events import CloseConnection, Event, Ping, Pong

REFUSED = "bottle-refused"
MOST_PENDING_PINGS = 16
POLICY_VIOLATION = 1008


class JudgedConnection(websocket.WebsocketConnection):
    """Empties pings, pongs and close reasons on their way upstream, and keeps both ends' ping-pong consistent."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._towards_server = self.client
        self.agent_pings: deque[bytes] = deque(maxlen=MOST_PENDING_PINGS)
        self.server_pings: deque[bytes] = deque(maxlen=MOST_PENDING_PINGS)

    def send2(self, event: Event) -> commands.SendData:
        """Sends a frame after neutralising it."""
        return super().send2(self._upstream(event) if self._towards_server else self._downstream(event))

    def _upstream(self, event: Event) -> Event:
        if isinstance(event, Ping):
            self.agent_pings.append(bytes(event.payload))
            return Ping(payload=b"")
        if isinstance(event, Pong):
            answers = bytes(event.payload)
            return Pong(payload=answers if answers in self.server_pings else b"")
        if isinstance(event, CloseConnection):
            return CloseConnection(code=event.code, reason=None)
        return event

    def _downstream(self, event: Event) -> Event:
        if isinstance(event, Ping):
            self.server_pings.append(bytes(event.payload))
        elif isinstance(event, Pong) and self.agent_pings:
            return Pong(payload=self.agent_pings.popleft())
        return event


class JudgedWebsocketLayer(websocket.WebsocketLayer):
    """The stock layer with judged connections; closes both ends after a refusal."""

    client_ws: JudgedConnection
    server_ws: JudgedConnection

    @expect(events.Start)
    def start_judged(self, event: events.Start) -> layer.CommandGenerator[None]:
        """Builds both ends and lets them share what they know about pings."""
        yield from super().start(event)
        self.client_ws.agent_pings = self.server_ws.agent_pings
        self.client_ws.server_pings = self.server_ws.server_pings

    _handle_event = start_judged

    @expect(events.DataReceived, events.ConnectionClosed, websocket.WebSocketMessageInjected)
    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Relays, then ends the connection if the message hook refused."""
        yield from super().relay_messages(event)
        if REFUSED not in self.flow.metadata or self._handle_event == self.done:
            return
        for end in (self.server_ws, self.client_ws):
            if end.state is wsproto.ConnectionState.OPEN:
                yield end.send2(CloseConnection(code=POLICY_VIOLATION, reason="refused"))
            yield commands.CloseConnection(end.conn)
        yield websocket.WebsocketEndHook(self.flow)
        self.flow.live = False
        self._handle_event = self.done
