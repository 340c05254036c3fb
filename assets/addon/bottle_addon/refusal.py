"""The two ways to say no, and the responses that carry them to the agent."""

from __future__ import annotations

import json

from mitmproxy import http

VERDICT_HEADER = "x-bottle-verdict"
OWN_PREFIX = "x-bottle-"
UNAVAILABLE = 503
RETRY_AFTER_S = "1"


class Deny(Exception):
    """A judged refusal: the request breaks a rule that the owner of the bottle can see and change."""

    def __init__(self, rule_ids: list[str], hint: str, scan_id: str = "") -> None:
        super().__init__(", ".join(rule_ids))
        self.rule_ids = rule_ids
        self.hint = hint
        self.scan_id = scan_id


class Unavailable(Exception):
    """No verdict could be had. Carries a short reason that never quotes the request."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def refusal_body(error: str, rule_ids: list[str], host: str, hint: str) -> bytes:
    """The JSON document that every refusal carries."""
    return json.dumps({"error": error, "rule_ids": rule_ids, "host": host, "hint": hint}).encode() + b"\n"


def _response(status: int, verdict: str, body: bytes) -> http.Response:
    headers = {"content-type": "application/json", VERDICT_HEADER: verdict, "cache-control": "no-store"}
    if status == UNAVAILABLE:
        headers["retry-after"] = RETRY_AFTER_S
    return http.Response.make(status, body, headers)


def denied(refusal: Deny, host: str) -> http.Response:
    """403: a rule says no."""
    return _response(403, "deny", refusal_body("denied by the egress policy", refusal.rule_ids, host, refusal.hint))


def unavailable(reason: str, host: str) -> http.Response:
    """503: nobody could say yes."""
    body = refusal_body(f"no verdict: {reason}", [], host, "retry; `bottle list` on the host shows whether the bottle is whole")
    return _response(UNAVAILABLE, "unavailable", body)
