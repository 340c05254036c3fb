"""Changes to mitmproxy's own code that no option offers; each is checked to fit the pinned version.

- Upstream is reached through CONNECT only, plain http included, so that the gate never executes a request itself,
  and with the patience of `tunnel`.
- The body limit holds for requests only; a long response is not an offence.
- Error pages of mitmproxy carry the verdict header and say nothing about the inside; what is not the agent's
  fault is a 503.
- Websocket control frames are neutralised (`sockets`).
"""

from __future__ import annotations

import asyncio

from mitmproxy import http, version
from mitmproxy.net.http import http1
from mitmproxy.proxy import layer, server
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import _http1, _http2, _http_h2, _upstream_proxy

from bottle_addon.gate import Gate
from bottle_addon.refusal import RETRY_AFTER_S, UNAVAILABLE, VERDICT_HEADER, refusal_body
from bottle_addon.sockets import JudgedConnection, JudgedWebsocketLayer
from bottle_addon.tunnel import PatientAsyncio, gate_tunnel, named

FITTING_VERSION = "12.2."


class UnfitVersion(Exception):
    """This mitmproxy is not the one the changes were written for."""


def _error_body(status: int, _message: str = "") -> bytes:
    rule_ids = ["BOTTLE-body-limit"] if status == 413 else ["BOTTLE-protocol"] if status < 500 else ["BOTTLE-upstream"]
    return refusal_body("the request was not carried out", rule_ids, "", "see `bottle audit`")


def _verdict_of(status: int) -> str:
    return "deny" if status < 500 else "unavailable"


def _own_headers(status: int) -> dict[str, str]:
    headers = {"content-type": "application/json", VERDICT_HEADER: _verdict_of(status)}
    return headers if status < 500 else {**headers, "retry-after": RETRY_AFTER_S}


def _error_response(status: int, _message: str = "") -> bytes:
    headers = {**_own_headers(status), "connection": "close"}
    shown = status if status < 500 else UNAVAILABLE
    return http1.assemble_response(http.Response.make(shown, _error_body(status), headers))


def _requests_only(original):
    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        if not request:
            return False
        return (yield from original(self, request))

    return check_body_size


def _with_verdict(original):
    own_error = {(b"server", version.MITMPROXY.encode()), (b"content-type", b"text/html")}

    def send_headers(self, stream_id, headers, *args, **kwargs):
        if len(headers) == 3 and own_error.issubset(headers):
            status = int(headers[0][1])
            shown = status if status < 500 else UNAVAILABLE
            own = [(name.encode(), value.encode()) for name, value in _own_headers(status).items()]
            headers = [(b":status", b"%d" % shown), *own]
        return original(self, stream_id, headers, *args, **kwargs)

    return send_headers


def harden(gate: Gate) -> None:
    """Applies every change once; raises `UnfitVersion` rather than run without one of them."""
    if not version.VERSION.startswith(FITTING_VERSION):
        raise UnfitVersion(f"mitmproxy {version.VERSION} is not {FITTING_VERSION}x")
    try:
        stream, h2, handler = http_layers.HttpStream, _http_h2.BufferedH2Connection, server.ConnectionHandler
        if getattr(stream.check_body_size, "_bottle", False):
            return
        _http1.make_error_response, _http2.format_error = (
            _must_replace(_http1.make_error_response, _error_response),
            _must_replace(_http2.format_error, _error_body),
        )
        if server.asyncio is not asyncio:
            raise UnfitVersion("the server's way to dial is not the one known")
        server.asyncio = PatientAsyncio(gate)
        handler.open_connection = named(handler.open_connection)
        _upstream_proxy.HttpUpstreamProxy = gate_tunnel(_upstream_proxy.HttpUpstreamProxy, gate)
        check = _requests_only(stream.check_body_size)
        check._bottle = True
        stream.check_body_size = check
        h2.send_headers = _with_verdict(h2.send_headers)
        websocket.WebsocketConnection = JudgedConnection
        websocket.WebsocketLayer = JudgedWebsocketLayer
    except AttributeError as error:
        raise UnfitVersion(f"mitmproxy {version.VERSION} lacks {error.name}") from None


def _must_replace(original, replacement):
    if not callable(original):
        raise UnfitVersion("an error page function is missing")
    return replacement
