"""Checks that CONNECT, SNI, `Host` and `:authority` name one and the same host, over TLS."""

from __future__ import annotations

import re

from mitmproxy import http

from bottle_addon.policy import HTTP_PORT, HTTPS_PORT, Policy
from bottle_addon.refusal import Deny

_METHOD = re.compile(rb"[A-Z]{3,16}")
_ODD_METHODS = (b"CONNECT", b"TRACE", b"PRI")
_DEFAULT_PORT = {"https": HTTPS_PORT, "http": HTTP_PORT}


def _names(request: http.Request) -> list[str]:
    hosts = request.headers.get_all("host")
    if len(hosts) > 1:
        raise Deny(["BOTTLE-authority"], "send exactly one Host header")
    return [name for name in (*hosts, request.authority) if name]


def _check_authority(request: http.Request, host: str) -> None:
    names = _names(request)
    wanted = {f"{host}:{request.port}"}
    if request.port == _DEFAULT_PORT.get(request.scheme):
        wanted.add(host)
    if not names or any(name.lower() not in wanted for name in names):
        raise Deny(["BOTTLE-authority"], "the Host header must name the host of the connection")


def is_websocket(request: http.Request) -> bool:
    """Whether the request asks for a websocket."""
    return request.headers.get("upgrade", "").strip().lower() == "websocket"


def check_transport(flow: http.HTTPFlow, policy: Policy) -> None:
    """Raises `Deny` for anything but an ordinary request over the TLS connection that names its host."""
    request, client = flow.request, flow.client_conn
    host = request.host
    if request.scheme == "https":
        if not client.tls_established:
            raise Deny(["BOTTLE-plain-http"], "use CONNECT and TLS")
        if client.sni is None or client.sni.lower() != host:
            raise Deny(["BOTTLE-sni"], "the TLS server name must be the host of the CONNECT request")
    elif client.tls_established or not policy.allows_http(host):
        raise Deny(["BOTTLE-plain-http"], f'use https, or add "{host}" to egress.http of the bottle')
    _check_authority(request, host)
    if not _METHOD.fullmatch(request.data.method) or request.data.method in _ODD_METHODS:
        raise Deny(["BOTTLE-method"], "use an ordinary HTTP method")
    if not request.path.startswith("/") and not (request.method == "OPTIONS" and request.path == "*"):
        raise Deny(["BOTTLE-path"], "the request target must be a path")
    if "upgrade" in request.headers and not is_websocket(request) or "http2-settings" in request.headers:
        raise Deny(["BOTTLE-upgrade"], "no protocol but websocket can be upgraded to")
    if is_websocket(request) and not policy.allows_websocket(host):
        raise Deny(["BOTTLE-websocket"], f'add "{host}" to egress.websocket of the bottle')


def url_of(request: http.Request) -> str:
    """The URL by the host of the connection, never by a header."""
    default = request.port == _DEFAULT_PORT.get(request.scheme)
    return f"{request.scheme}://{request.host}{'' if default else f':{request.port}'}{request.path}"
