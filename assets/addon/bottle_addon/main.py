"""Puts the parts together and runs them until the container is stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from bottle_addon.lean import leave_out_unused

leave_out_unused()

from mitmproxy import master, options
from mitmproxy.addons import block, core, errorcheck, proxyserver, tlsconfig

from bottle_addon.cache import VerdictCache
from bottle_addon.control import Control, LineReader
from bottle_addon.events import EventStream
from bottle_addon.gate import Gate
from bottle_addon.guard import Guard
from bottle_addon.hardening import UnfitVersion, harden
from bottle_addon.judge import Judge
from bottle_addon.material import forget_key, lay_out
from bottle_addon.probe import Probe
from bottle_addon.scan import ScanClient
from bottle_addon.settings import Settings, SettingsError, parse_settings

EXIT_UNUSABLE_CONFIGURATION = 2
STDIN, STDOUT, STDERR = 0, 1, 2
log = logging.getLogger("bottle_addon")


class _NoQuotes(logging.Filter):
    """Foreign log lines can quote traffic: of those only the origin is kept."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("bottle_addon"):
            record.msg, record.args, record.exc_info, record.exc_text = "(message withheld)", (), None, None
        return True


def _set_up_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_NoQuotes())
    handler.setLevel(logging.WARNING)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def _claim_stdout() -> int:
    """A private descriptor for events; whatever else prints goes to standard error."""
    fd = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return fd


def build_master(settings: Settings, guard: Guard, trust_bundle: str | None) -> master.Master:
    """A master with the few add-ons this job needs; no scripts, no playback, no web pages."""
    listen, gate, limits = settings.listen, settings.gate_proxy, settings.rules.policy.limits
    opts = options.Options(
        mode=[f"upstream:http://{gate.host}:{gate.port}@{listen.host}:{listen.port}"],
        confdir=settings.confdir,
        rawtcp=False,
        upstream_cert=False,
        ssl_insecure=False,
        http2=True,
    )
    if trust_bundle is not None:
        opts.update(ssl_verify_upstream_trusted_ca=trust_bundle)
    built = master.Master(opts)
    built.addons.add(
        core.Core(), block.Block(), proxyserver.Proxyserver(), tlsconfig.TlsConfig(), guard, errorcheck.ErrorCheck()
    )
    opts.update(
        connection_strategy="lazy",
        block_global=True,
        block_private=False,
        validate_inbound_headers=True,
        body_size_limit=str(limits.body_limit_bytes),
    )
    return built


async def serve() -> int:
    """Configures from the first line, then serves until a signal."""
    out = EventStream(_claim_stdout())
    lines = LineReader(STDIN)
    try:
        settings = parse_settings(await lines.line() or b"")
        cache = VerdictCache(settings.rules.policy.limits.cache_entries)
        gate = Gate(settings.gate_proxy, settings.gate_wait_s, on_other=cache.clear)
        harden(gate)
    except (SettingsError, UnfitVersion) as error:
        log.error("cannot start: %s", error)
        return EXIT_UNUSABLE_CONFIGURATION
    limits = settings.rules.policy.limits
    out.deadline_s = limits.audit_deadline_ms / 1000
    client = ScanClient(
        gate, settings.gate_scan, settings.scan_token, limits.scan_connections, limits.scan_deadline_ms / 1000
    )
    guard = Guard(settings.bottle, gate, settings.rules, Judge(client, cache), out)
    built = build_master(settings, guard, lay_out(settings))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, built.shutdown)
    helpers = [
        asyncio.ensure_future(_announce(guard, settings, out)),
        asyncio.ensure_future(Control(guard, Probe(settings, guard, client, gate), out).serve(lines)),
    ]
    try:
        await built.run()
    finally:
        for helper in helpers:
            helper.cancel()
    return 0


async def _announce(guard: Guard, settings: Settings, out: EventStream) -> None:
    await guard.started.wait()
    forget_key(settings)
    await out.put({"event": "ready"})


def run() -> int:
    """The process."""
    os.environ.pop("SSLKEYLOGFILE", None)
    os.environ.pop("MITMPROXY_SSLKEYLOGFILE", None)
    _set_up_logging()
    return asyncio.run(serve())
