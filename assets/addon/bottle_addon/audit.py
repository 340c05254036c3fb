"""Audit lines: what was decided, never what was said."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

LONGEST_PATH = 1024
LONGEST_KEY = 40


def _digest(text: str) -> str:
    return "sha256:" + sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def hashed_path(path: str) -> str:
    """The path with every query value (and every overlong key) replaced by a short hash."""
    bare, mark, query = path.partition("?")
    pairs = []
    for pair in query.split("&") if mark else []:
        key, equals, value = pair.partition("=")
        key = key if len(key) <= LONGEST_KEY and equals else _digest(key)
        pairs.append(f"{key}={_digest(value)}" if equals else key)
    return (bare + mark + "&".join(pairs))[:LONGEST_PATH]


def audit_event(
    *,
    bottle: str,
    kind: str,
    flow_id: str,
    method: str,
    host: str,
    path: str,
    size: int,
    verdict: str,
    rule_ids: list[str],
    scan_id: str,
    generation: int,
    ms: float,
    received: int = 0,
    probe: bool = False,
) -> dict[str, Any]:
    """One decision as the event that goes to the runtime; `path` must be hashed already."""
    return {
        "event": "audit",
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "bottle": bottle,
        "kind": kind,
        "flow_id": flow_id,
        "method": method,
        "host": host,
        "path": path,
        "bytes": size,
        "bytes_received": received,
        "verdict": verdict,
        "rule_ids": rule_ids,
        "scan_id": scan_id,
        "policy_generation": generation,
        "ms": round(ms, 2),
        "probe": probe,
    }
