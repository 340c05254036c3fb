"""Changes to mitmproxy's own code that no option offers; each is checked to fit the pinned version.

- Plain http goes through CONNECT as https does, so that the gate never executes a request itself.
- The body limit holds for requests only; a long response is not an offence.
- Error pages of mitmproxy carry the verdict header and say nothing about the inside.
- Websocket control frames are neutralised (`sockets`).
"""

from __future__ import annotations

from mitmproxy import http, version
from mitmproxy.net.http import http1
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers import http as http_layers
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import _http1, _http2, _http_h2, _upstream_proxy

from bottle_addon.refusal import VERDICT_HEADER, refusal_body
from bottle_addon.sockets import JudgedConnection, JudgedWebsocketLayer

FITTING_VERSION = "12.2."


class UnfitVersion(Exception):
    """This mitmproxy is not the one the changes were written for."""


def _error_body(status: int, _message: str = "") -> bytes:
    rule_ids = ["BOTTLE-body-limit"] if status == 413 else ["BOTTLE-protocol"] if status < 500 else ["BOTTLE-upstream"]
    return refusal_body("the request was not carried out", rule_ids, "", "see `bottle audit`")


def _verdict_of(status: int) -> str:
    return "deny" if status < 500 else "unavailable"


def _error_response(status_code: int, _message: str = "") -> bytes:
    headers = {"content-type": "application/json", "connection": "close", VERDICT_HEADER: _verdict_of(status_code)}
    return http1.assemble_response(http.Response.make(status_code, _error_body(status_code), headers))


def _always_connect(original):
    def make(cls, ctx, _send_connect):
        return original(ctx, True)

    return classmethod(make)


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
            verdict = _verdict_of(int(headers[0][1]))
            headers = [headers[0], (b"content-type", b"application/json"), (VERDICT_HEADER.encode(), verdict.encode())]
        return original(self, stream_id, headers, *args, **kwargs)

    return send_headers


def harden() -> None:
    """Applies every change once; raises `UnfitVersion` rather than run without one of them."""
    if not version.VERSION.startswith(FITTING_VERSION):
        raise UnfitVersion(f"mitmproxy {version.VERSION} is not {FITTING_VERSION}x")
    try:
        proxy, stream, h2 = _upstream_proxy.HttpUpstreamProxy, http_layers.HttpStream, _http_h2.BufferedH2Connection
        if getattr(stream.check_body_size, "_bottle", False):
            return
        _http1.make_error_response, _http2.format_error = (
            _must_replace(_http1.make_error_response, _error_response),
            _must_replace(_http2.format_error, _error_body),
        )
        proxy.make = _always_connect(proxy.make)
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
