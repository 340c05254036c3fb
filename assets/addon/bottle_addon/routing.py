"""Which protocol is spoken next on a connection: HTTP to the proxy, TLS or SSH inside a tunnel, nothing else."""

from __future__ import annotations

from collections.abc import Callable

from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, HttpLayer, ServerTLSLayer
from mitmproxy.proxy.layers.http import HTTPMode, HttpStream

from bottle_addon.ssh import SshTunnel, is_banner

TLS_RECORD_BYTES = 3
SshFactory = Callable[[Context, tuple[str, int]], SshTunnel]


def choose(nextlayer: layer.NextLayer, ssh: frozenset[tuple[str, int]], open_ssh: SshFactory) -> layer.Layer | None:
    """The next layer, or None to wait for more bytes.

    What is neither TLS nor SSH is given to the HTTP layer, which refuses it: as malformed, or in the
    request hook as plain http.
    """
    context, data = nextlayer.context, nextlayer.data_client()
    in_tunnel = any(isinstance(entry, HttpStream) for entry in context.layers)
    if not in_tunnel:
        return HttpLayer(context, HTTPMode.upstream)
    if context.client.tls:
        return HttpLayer(context, HTTPMode.transparent)
    target = (context.server.address[0], context.server.address[1]) if context.server.address else None
    if target in ssh:
        match is_banner(data):
            case True:
                return open_ssh(context, target)
            case None:
                return None
        return HttpLayer(context, HTTPMode.transparent)
    if len(data) < TLS_RECORD_BYTES:
        return None
    if starts_like_tls_record(data):
        server_tls = ServerTLSLayer(context)
        server_tls.child_layer = ClientTLSLayer(context)
        return server_tls
    return HttpLayer(context, HTTPMode.transparent)
