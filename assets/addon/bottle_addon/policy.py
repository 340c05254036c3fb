"""The egress policy as the addon uses it: who may be reached, how, and with what limits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from bottle_addon.refusal import Deny

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_SLIPPERY_PATH = re.compile(r"//|\\|%2f|%5c|%2e|(?:^|/)\.{1,2}(?:/|$)|%00|;", re.IGNORECASE)
HTTPS_PORT = 443
HTTP_PORT = 80


class PolicyError(Exception):
    """The policy is unusable; the last good one stays in force."""


def is_host_name(host: str) -> bool:
    """A lower-case DNS name of LDH labels that cannot be read as an address."""
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    return not labels[-1].isdigit() and not re.fullmatch(r"0x[0-9a-f]*", labels[-1])


def host_matches(pattern: str, host: str) -> bool:
    """Exact, or `*.x` for every name under `x` and for `x` itself (the gate reads it the same way)."""
    if pattern.startswith("*."):
        return host == pattern[2:] or host.endswith(pattern[1:])
    return host == pattern


@dataclass(frozen=True)
class CredentialRule:
    """Header `header` of requests to exactly `host` gets `prefix` and the value called `name`."""

    name: str
    host: str
    header: str
    prefix: str


@dataclass(frozen=True)
class PathRule:
    """What may be asked of a host; an empty tuple means any."""

    host: str
    methods: tuple[str, ...]
    paths: tuple[re.Pattern[str], ...]


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, times in milliseconds."""

    body_limit_bytes: int
    cache_entries: int
    scan_connections: int
    scan_deadline_ms: int
    verdict_deadline_ms: int
    audit_deadline_ms: int


def _glob(pattern: str) -> re.Pattern[str]:
    """`*` stays within a path segment, `**` crosses segments."""
    parts = re.split(r"(\*\*|\*)", pattern)
    translated = {"**": ".*", "*": "[^/]*"}
    return re.compile("".join(translated.get(p, re.escape(p)) for p in parts), re.DOTALL)


def _strings(data: dict[str, Any], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise PolicyError(f"{key} is not a list of strings")
    return tuple(value)


def _numbers(data: dict[str, Any], keys: tuple[str, ...]) -> dict[str, int]:
    if not all(type(data.get(key)) is int and data[key] > 0 for key in keys):
        raise PolicyError(f"{', '.join(keys)} must be positive integers")
    return {key: data[key] for key in keys}


@dataclass(frozen=True)
class Policy:
    """Immutable; a change replaces the whole and carries a new generation."""

    generation: int
    allowlist: tuple[str, ...]
    warn_only: bool
    ports: frozenset[int]
    http_hosts: tuple[str, ...]
    websocket_hosts: tuple[str, ...]
    ssh: frozenset[tuple[str, int]]
    credentials: tuple[CredentialRule, ...]
    rules: tuple[PathRule, ...]
    extra_hosts: tuple[str, ...]
    limits: Limits

    @classmethod
    def parse(cls, data: dict[str, Any]) -> Policy:
        """Reads the JSON form; anything unexpected is a `PolicyError`."""
        try:
            action = data["dlp_action"]
            if action not in ("block", "warn"):
                raise PolicyError("dlp_action is neither block nor warn")
            policy = cls(
                generation=int(data["generation"]),
                allowlist=_strings(data, "allowlist"),
                warn_only=action == "warn",
                ports=frozenset(int(p) for p in data["ports"]),
                http_hosts=_strings(data, "http_hosts"),
                websocket_hosts=_strings(data, "websocket_hosts"),
                ssh=frozenset((d["host"], int(d["port"])) for d in data["ssh"]),
                credentials=tuple(
                    CredentialRule(c["name"], c["host"], c["header"].lower(), c.get("prefix") or "")
                    for c in data["credentials"]
                ),
                rules=tuple(
                    PathRule(r["host"], tuple(m.upper() for m in r["methods"]), tuple(map(_glob, r["paths"])))
                    for r in data["rules"]
                ),
                extra_hosts=tuple(data.get("extra_hosts", {})),
                limits=Limits(**_numbers(data["limits"], tuple(Limits.__dataclass_fields__))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PolicyError(f"unusable ({type(error).__name__})") from None
        names = (*policy.allowlist, *policy.http_hosts, *policy.websocket_hosts, *(h for h, _ in policy.ssh))
        if not all(is_host_name(name.removeprefix("*.")) for name in names):
            raise PolicyError("a host is not a lower-case DNS name")
        return policy

    def allows_host(self, host: str) -> bool:
        """Whether the allowlist holds `host`."""
        return any(host_matches(pattern, host) for pattern in self.allowlist)

    def allows_http(self, host: str) -> bool:
        """Whether `host` may be spoken to without TLS."""
        return any(host_matches(pattern, host) for pattern in self.http_hosts)

    def allows_websocket(self, host: str) -> bool:
        """Whether `host` may be spoken to by websocket."""
        return any(host_matches(pattern, host) for pattern in self.websocket_hosts)

    def check_destination(self, host: str, port: int) -> None:
        """Raises `Deny` unless host and port are within the policy."""
        if not is_host_name(host):
            raise Deny(["BOTTLE-host-name"], "name the host by its DNS name in lower case; addresses are never allowed")
        if not self.allows_host(host):
            raise Deny(["BOTTLE-allowlist"], f'add "{host}" to egress.allowlist of the bottle')
        if port not in self.ports and not (port == HTTP_PORT and self.allows_http(host)):
            raise Deny(["BOTTLE-port"], f"port {port} is not among the ports of the egress policy")

    def check_rules(self, host: str, method: str, path: str) -> None:
        """Raises `Deny` when the host has rules and none of them fits."""
        applicable = [rule for rule in self.rules if host_matches(rule.host, host)]
        if not applicable:
            return
        bare = path.split("?", 1)[0]
        if not _SLIPPERY_PATH.search(bare):
            for rule in applicable:
                fits_path = not rule.paths or any(p.fullmatch(bare) for p in rule.paths)
                if fits_path and (not rule.methods or method in rule.methods):
                    return
        raise Deny(["BOTTLE-rules"], f'extend egress.rules["{host}"] by this method and path')
