"""The mitmproxy add-on: every hook that decides something, each of them closed on failure.

mitmproxy logs an exception of a hook and lets the flow go on. So no hook here lets one out: what goes
wrong becomes a 503.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy import layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from bottle_addon.audit import audit_event, hashed_path
from bottle_addon.broker import Broker
from bottle_addon.encodings import decode_body
from bottle_addon.events import EventStream
from bottle_addon.extract import Extract, strings_of
from bottle_addon.gate import Gate, Patience
from bottle_addon.judge import Judge, Verdict, is_dlp
from bottle_addon.refusal import OWN_PREFIX, Deny, Unavailable, denied, unavailable
from bottle_addon.routing import choose
from bottle_addon.settings import Rules
from bottle_addon.sockets import REFUSED
from bottle_addon.ssh import SshTunnel, Tally
from bottle_addon.transport import check_transport, is_websocket, url_of
from bottle_addon.tunnel import FORBIDDEN, GateServer

PROBE_HEADER = "x-bottle-probe"
THREAD_BYTES = 256 << 10
_OWN_RESPONSE = "bottle-own-response"
_HARMLESS = {
    "host": re.compile(r"[a-z0-9.:-]{1,260}", re.IGNORECASE),
    "content-length": re.compile(r"\d{1,12}"),
    "connection": re.compile(r"(?:keep-alive|close|upgrade)(?:, ?(?:keep-alive|upgrade))?", re.IGNORECASE),
    "accept-encoding": re.compile(
        r"(?:(?:gzip|x-gzip|deflate|br|zstd|compress|identity|\*)(?:;q=[01](?:\.\d{1,3})?)?(?:, ?|$))+"
    ),
    "content-encoding": re.compile(r"(?:(?:x-)?gzip|deflate|br|zstd|identity)(?:, ?(?:gzip|deflate|br|zstd))*"),
}

log = logging.getLogger("bottle_addon")
Hook = Callable[["Guard", http.HTTPFlow], Awaitable[None]]


def closed_on_failure(hook: Hook) -> Hook:
    """Any way out of the hook but returning becomes a refusal."""

    @wraps(hook)
    async def guarded(self: Guard, flow: http.HTTPFlow) -> None:
        try:
            await hook(self, flow)
        except BaseException as error:
            flow.metadata[_OWN_RESPONSE] = True
            flow.response = unavailable("internal failure", "")
            self.fault(hook.__name__, error)
            if not isinstance(error, Exception):
                raise

    return guarded


class Guard:
    """One per process; `rules` is replaced as a whole by a policy change."""

    def __init__(self, bottle: str, gate: Gate, rules: Rules, judge: Judge, out: EventStream) -> None:
        self._bottle = bottle
        self._gate = gate
        self._judge = judge
        self._out = out
        self.halted = False
        self.started = asyncio.Event()
        self.probe_nonces: set[str] = set()
        self.probe_peers: dict[tuple[str, int], bool] = {}
        self._ssh_flows: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.use(rules)

    def use(self, rules: Rules) -> None:
        """Puts new rules in force for every decision from now on; verdicts of the old ones are forgotten."""
        self.rules = rules
        self.broker = Broker(rules)
        self._judge.cache.clear()
        self._gate.epoch += 1

    def halt(self) -> None:
        """Denies everything from now on, what waits for the gate included."""
        self.halted = True
        self._gate.epoch += 1

    def resume(self) -> None:
        """Ends a halt."""
        self.halted = False

    def fault(self, where: str, error: BaseException) -> None:
        """Reports a failure by its type; a message could quote the request."""
        log.error("%s failed: %s", where, type(error).__name__)
        try:
            self._out.post({"event": "fault", "where": where, "error": type(error).__name__})
        except Unavailable:
            pass

    def running(self) -> None:
        """All listeners are up."""
        self.started.set()

    # Connections

    def next_layer(self, nextlayer: layer.NextLayer) -> None:
        """Decides the protocol; on failure no layer is set and the connection stays mute."""
        if nextlayer.layer is None:
            nextlayer.layer = choose(nextlayer, self.rules.policy.ssh, self._open_ssh)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """The gate is the only address this process ever dials."""
        if not isinstance(data.server, GateServer):
            data.server.error = "only the gate may be dialled"

    def tls_failed_server(self, data: TlsData) -> None:
        """A failure counts once: the next request on the agent's connection tries anew."""
        data.conn.error = None

    @closed_on_failure
    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Refuses a tunnel by name and port, before anything is resolved or dialled."""
        began = time.monotonic()
        request, policy = flow.request, self.rules.policy
        self._patience(flow)
        try:
            self._check_open()
            if (request.host, request.port) in policy.ssh:
                await self._audit(flow, "ssh", Verdict(), began)
                self._ssh_flows[flow.client_conn.id] = flow.id
            else:
                policy.check_destination(request.host, request.port)
        except (Deny, Unavailable) as refusal:
            await self._refuse(flow, "connect", refusal, began)

    def tcp_start(self, flow: Any) -> None:
        """No raw relay but the SSH tunnel, which has no flow."""
        flow.kill()

    def dns_request(self, flow: Any) -> None:
        """No DNS through the proxy."""
        flow.kill()

    def client_disconnected(self, client: Client) -> None:
        """Forgets which tunnel the connection carried, and what it could wait."""
        self._ssh_flows.pop(client.id, None)
        self._gate.forget(client.id)

    def _open_ssh(self, context: Context, target: tuple[str, int]) -> SshTunnel:
        began = time.monotonic()
        flow_id = self._ssh_flows.get(context.client.id, "")

        def finished(tally: Tally) -> None:
            task = asyncio.ensure_future(self._audit_tunnel(flow_id, target, tally, began))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return SshTunnel(context, lambda: self._may_relay(target), finished)

    def _may_relay(self, target: tuple[str, int]) -> bool:
        return not self.halted and not self._out.broken and target in self.rules.policy.ssh

    async def _audit_tunnel(self, flow_id: str, target: tuple[str, int], tally: Tally, began: float) -> None:
        event = audit_event(
            bottle=self._bottle,
            kind="ssh",
            flow_id=flow_id,
            method="CLOSE",
            host=target[0],
            path=f":{target[1]}",
            size=tally.sent,
            received=tally.received,
            verdict="deny" if tally.refused.startswith("BOTTLE") else "allow",
            rule_ids=[tally.refused] if tally.refused else [],
            scan_id="",
            generation=self.rules.policy.generation,
            ms=(time.monotonic() - began) * 1000,
        )
        try:
            await self._out.put(event)
        except Unavailable as error:
            self.fault("audit", error)

    # Requests

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Requests are always complete before they are judged."""
        flow.request.stream = False

    @closed_on_failure
    async def request(self, flow: http.HTTPFlow) -> None:
        """The verdict."""
        began = time.monotonic()
        try:
            await self._decide(flow, began)
        except (Deny, Unavailable) as refusal:
            await self._refuse(flow, "http", refusal, began)

    def _check_open(self) -> None:
        if self._out.broken:
            raise Unavailable("the audit stream is broken")
        if self.halted:
            raise Unavailable("the bottle is halted")

    def _patience(self, flow: http.HTTPFlow) -> Patience:
        return self._gate.patience(flow.client_conn.id, for_probe=flow.client_conn.peername[:2] in self.probe_peers)

    def _check_unchanged(self, patience: Patience) -> None:
        """What was judged under other rules, before a halt, or by another gate, is not judged."""
        if not self._gate.permits(patience):
            raise Unavailable(FORBIDDEN)
        self._check_open()

    async def _decide(self, flow: http.HTTPFlow, began: float) -> None:
        patience = self._patience(flow)
        self._check_open()
        rules, broker, request = self.rules, self.broker, flow.request
        policy, host = rules.policy, request.host
        nonce = self._take_nonce(request)
        policy.check_destination(host, request.port)
        check_transport(flow, policy)
        if nonce is None:
            policy.check_rules(host, request.method, request.path)
        if request.is_http11 or request.is_http10:
            request.authority = ""
        broker.take_off(request, host)
        extract = await self._extract(request, policy.limits.body_limit_bytes)
        patience.held_bytes = len(request.raw_content or b"")
        verdict = await self._judge.judge(flow.id, url_of(request), extract, rules, patience)
        self._check_unchanged(patience)
        await self._audit(flow, "websocket" if is_websocket(request) else "http", verdict, began)
        if nonce is not None:
            flow.metadata[_OWN_RESPONSE] = True
            flow.response = http.Response.make(204, b"", {PROBE_HEADER: nonce})
        else:
            broker.put_on(flow, host)

    def _take_nonce(self, request: http.Request) -> str | None:
        """Removes our own headers from the request; returns the nonce of a probe of this process."""
        sent = request.headers.get(PROBE_HEADER, "")
        for name in [n for n in request.headers if n.lower().startswith(OWN_PREFIX)]:
            request.headers.pop(name, None)
        for nonce in self.probe_nonces:
            if hmac.compare_digest(nonce, sent):
                self.probe_nonces.discard(nonce)
                return nonce
        return None

    @staticmethod
    async def _extract(request: http.Request, limit: int) -> Extract:
        raw = request.raw_content
        if raw is None:
            raise Unavailable("the body is missing")
        if len(raw) > limit:
            raise Deny(["BOTTLE-body-limit"], "the body is over egress.limits.max_body")
        encoding = ",".join(request.headers.get_all("content-encoding"))
        content_type = ", ".join(request.headers.get_all("content-type"))

        def work() -> Extract:
            return strings_of(content_type, decode_body(raw, encoding, limit), limit)

        extract = await asyncio.to_thread(work) if len(raw) > THREAD_BYTES or encoding else work()
        extract.fields[:0] = header_fields(request).fields
        return extract

    async def _refuse(self, flow: http.HTTPFlow, kind: str, refusal: Deny | Unavailable, began: float) -> None:
        host = self.rules.exact.mask(flow.request.host)
        flow.metadata[_OWN_RESPONSE] = True
        if isinstance(refusal, Deny):
            flow.response = denied(refusal, host)
        else:
            flow.response = unavailable(refusal.reason, host)
        try:
            await self._audit(flow, kind, refusal, began)
        except Unavailable:
            log.error("a refusal could not be audited")

    async def _audit(
        self,
        flow: http.HTTPFlow,
        kind: str,
        outcome: Verdict | Deny | Unavailable,
        began: float,
        size: int | None = None,
    ) -> None:
        """Writes the line; a decision whose line is not written is no permission."""
        peer = flow.client_conn.peername[:2]
        if self.probe_peers.get(peer):
            return
        request, mask = flow.request, self.rules.exact.mask
        rule_ids, scan_id, verdict = _outcome(outcome)
        path = hashed_path(mask(request.path))
        if any(map(is_dlp, rule_ids)):
            path = hashed_path("?" + request.path)[1:]
        await self._out.put(
            audit_event(
                bottle=self._bottle,
                kind=kind,
                flow_id=flow.id,
                method=request.method if request.method.isalpha() and len(request.method) <= 16 else "OTHER",
                host=mask(request.host)[:255],
                path=f":{request.port}" if request.method == "CONNECT" else path,
                size=len(request.raw_content or b"") if size is None else size,
                verdict=verdict,
                rule_ids=rule_ids,
                scan_id=scan_id,
                generation=self.rules.policy.generation,
                ms=(time.monotonic() - began) * 1000,
                probe=peer in self.probe_peers,
            )
        )

    # Responses

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Streams every response, scrubbed where a credential is at stake."""
        if flow.metadata.get(_OWN_RESPONSE):
            return
        try:
            self._prepare_response(flow)
        except Exception as error:
            self.fault("responseheaders", error)
            flow.kill()

    def _prepare_response(self, flow: http.HTTPFlow) -> None:
        response, host = flow.response, flow.request.host
        assert response is not None
        _drop_own_headers(response.headers)
        response.data.reason = self.broker.scrub(response.data.reason, host)
        self.broker.scrub_headers(response.headers, host)
        packed = response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
        if response.status_code != 101 and not (packed and self.broker.owns(host)):
            response.stream = self.broker.stream(host)

    async def error(self, flow: http.HTTPFlow) -> None:
        """Audits what mitmproxy refused by itself, and upstreams that failed after an allow."""
        if flow.metadata.get(_OWN_RESPONSE) or flow.error is None:
            return
        outcome = _outcome_of_error(flow.error.msg)
        if outcome is None:
            return
        try:
            await self._audit(flow, "http", outcome, time.monotonic())
        except Exception as error:
            self.fault("error", error)

    def response(self, flow: http.HTTPFlow) -> None:
        """Scrubs what could not be streamed: packed bodies and trailers."""
        if flow.metadata.get(_OWN_RESPONSE) or flow.response is None:
            return
        try:
            if flow.response.trailers is not None:
                _drop_own_headers(flow.response.trailers)
                self.broker.scrub_headers(flow.response.trailers, flow.request.host)
            if not flow.response.stream and self.broker.owns(flow.request.host) and flow.response.raw_content:
                body = flow.response.get_content(strict=True) or b""
                scrubbed = self.broker.scrub(body, flow.request.host)
                if scrubbed != body:
                    flow.response.set_content(scrubbed)
        except Exception as error:
            self.fault("response", error)
            flow.kill()

    # Websockets

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Judges each message of the agent; scrubs each message of the server."""
        assert flow.websocket is not None
        message = flow.websocket.messages[-1]
        flow.websocket.messages.clear()
        began = time.monotonic()
        size = len(message.content)
        try:
            self._check_open()
            if REFUSED in flow.metadata:
                raise Unavailable("the connection was refused before")
            if not message.from_client:
                message.content = self.broker.scrub(message.content, flow.request.host)
                return
            policy = self.rules.policy
            if not policy.allows_host(flow.request.host) or not policy.allows_websocket(flow.request.host):
                raise Deny(["BOTTLE-websocket"], "the policy has changed")
            if size > policy.limits.body_limit_bytes:
                raise Deny(["BOTTLE-body-limit"], "the message is over egress.limits.max_body")
            patience = self._patience(flow)
            extract = strings_of("", message.content, policy.limits.body_limit_bytes)
            patience.held_bytes = size
            verdict = await self._judge.judge(flow.id, None, extract, self.rules, patience)
            self._check_unchanged(patience)
            await self._audit(flow, "websocket", verdict, began, size)
        except (Deny, Unavailable) as refusal:
            message.drop()
            if REFUSED not in flow.metadata:
                flow.metadata[REFUSED] = True
                await self._refuse_message(flow, refusal, began, size)
        except BaseException as error:
            message.drop()
            flow.metadata[REFUSED] = True
            self.fault("websocket_message", error)

    async def _refuse_message(self, flow: http.HTTPFlow, refusal: Deny | Unavailable, began: float, size: int) -> None:
        try:
            await self._audit(flow, "websocket", refusal, began, size)
        except Unavailable:
            log.error("a refusal could not be audited")


def header_fields(request: http.Request) -> Extract:
    """Every header and trailer that is not harmless by name and value."""
    extract = Extract()
    trailers = request.trailers.items(multi=True) if request.trailers else ()
    for name, value in (*request.headers.items(multi=True), *trailers):
        harmless = _HARMLESS.get(name.lower())
        if harmless is None or not harmless.fullmatch(value):
            extract.add(f"{name}: {value}", is_value=False)
            extract.add(value)
    return extract


def _drop_own_headers(headers: http.Headers) -> None:
    for name in [n for n in headers if n.lower().startswith(OWN_PREFIX)]:
        headers.pop(name, None)


def _outcome_of_error(message: str) -> Deny | Unavailable | None:
    """The meaning of mitmproxy's error text; None for a client that went away."""
    if "body_size_limit" in message:
        return Deny(["BOTTLE-body-limit"], "")
    if "from client, refusing" in message or message.startswith(("Invalid request", "mitmproxy received")):
        return Deny(["BOTTLE-protocol"], "")
    if "killed" in message or "client" in message.lower():
        return None
    return Unavailable("upstream")


def _outcome(outcome: Verdict | Deny | Unavailable) -> tuple[list[str], str, str]:
    match outcome:
        case Verdict(warned=warned, scan_id=scan_id):
            return warned, scan_id, "warn" if warned else "allow"
        case Deny():
            return outcome.rule_ids, outcome.scan_id, "deny"
        case _:
            return [], "", "unavailable"
