"""The configuration line: parsed strictly into frozen values that never print what they hold."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from bottle_addon.exact import ExactSecret, ExactSecrets
from bottle_addon.policy import Policy, PolicyError

CONFIG_VERSION = 1
DEFAULT_GATE_WAIT_S = 5.0
LONGEST_GATE_WAIT_S = 60.0


class SettingsError(Exception):
    """The line is unusable. The message names the field, never its content."""


@dataclass(frozen=True)
class Address:
    """A host and port."""

    host: str
    port: int


@dataclass(frozen=True, repr=False)
class Rules:
    """What a policy line replaces as a whole: the policy and the secret values that belong to it."""

    policy: Policy
    exact: ExactSecrets
    credentials: dict[str, str]


@dataclass(frozen=True, repr=False)
class Settings:
    """Everything the interceptor is told at start."""

    bottle: str
    ca_certificate_pem: str
    ca_private_key_pem: str
    listen: Address
    gate_proxy: Address
    gate_scan: Address
    scan_token: str
    confdir: str
    extra_ca_pem: str
    gate_wait_s: float
    rules: Rules


def _get(data: Any, key: str, kind: type) -> Any:
    if not isinstance(data, dict) or not isinstance(data.get(key), kind) or isinstance(data.get(key), bool):
        raise SettingsError(f"field {key!r} is missing or of the wrong type")
    return data[key]


def _gate_wait_s(data: dict[str, Any]) -> float:
    wait = data.get("gate_wait_s", DEFAULT_GATE_WAIT_S)
    if type(wait) not in (int, float) or not 0 <= wait <= LONGEST_GATE_WAIT_S:
        raise SettingsError(f"field 'gate_wait_s' must be a number from 0 to {LONGEST_GATE_WAIT_S:.0f}")
    return float(wait)


def parse_rules(data: dict[str, Any]) -> Rules:
    """Reads `policy`, `exact_secrets` and `credentials` of a configuration or policy line."""
    try:
        policy = Policy.parse(_get(data, "policy", dict))
    except PolicyError as error:
        raise SettingsError(f"policy: {error}") from None
    credentials = _get(data, "credentials", dict)
    if not all(isinstance(v, str) and v and v.isprintable() and v.isascii() for v in credentials.values()):
        raise SettingsError("field 'credentials' holds a value that cannot be a header value")
    for credential in policy.credentials:
        if credential.name not in credentials:
            raise SettingsError(f"credential {credential.name!r} has no value")
    secrets = [
        ExactSecret(_get(s, "name", str), _get(s, "value", str).encode()) for s in _get(data, "exact_secrets", list)
    ]
    secrets += [ExactSecret(f"Credential {name}", value.encode()) for name, value in credentials.items()]
    return Rules(policy, ExactSecrets(s for s in secrets if s.value), dict(credentials))


def decode_line(line: bytes) -> dict[str, Any]:
    """One JSON object; errors never quote the line."""
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        raise SettingsError("the line is not JSON") from None
    if not isinstance(data, dict):
        raise SettingsError("the line is not a JSON object")
    return data


def parse_settings(line: bytes) -> Settings:
    """Parses the first line of standard input."""
    data = decode_line(line)
    if data.get("version") != CONFIG_VERSION:
        raise SettingsError(f"field 'version' must be {CONFIG_VERSION}")
    ca, listen, gate = _get(data, "ca", dict), _get(data, "listen", dict), _get(data, "gate", dict)
    gate_host = _get(gate, "host", str)
    return Settings(
        bottle=_get(data, "bottle", str),
        ca_certificate_pem=_get(ca, "certificate_pem", str),
        ca_private_key_pem=_get(ca, "private_key_pem", str),
        listen=Address(_get(listen, "host", str), _get(listen, "port", int)),
        gate_proxy=Address(gate_host, _get(gate, "proxy_port", int)),
        gate_scan=Address(gate_host, _get(gate, "scan_port", int)),
        scan_token=_get(data, "scan_token", str),
        confdir=_get(data, "confdir", str),
        extra_ca_pem=_get(data, "extra_ca_pem", str) if data.get("extra_ca_pem") is not None else "",
        gate_wait_s=_gate_wait_s(data),
        rules=parse_rules(data),
    )
