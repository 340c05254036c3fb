"""The credential broker: the agent's credentials come off before the verdict, the real one goes on after it."""

from __future__ import annotations

from mitmproxy import http

from bottle_addon.policy import HTTPS_PORT
from bottle_addon.scrub import Scrubber, StreamScrubber
from bottle_addon.settings import Rules

_CREDENTIAL_HEADERS = (
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-auth-token",
    "private-token",
    "cookie",
)


class Broker:
    """Knows which host gets which credential; rebuilt with every policy."""

    def __init__(self, rules: Rules) -> None:
        self._values = rules.credentials
        self._by_host: dict[str, list] = {}
        for credential in rules.policy.credentials:
            self._by_host.setdefault(credential.host, []).append(credential)
        self._scrubbers = {name: Scrubber(value) for name, value in rules.credentials.items()}

    def owns(self, host: str) -> bool:
        """Whether the policy holds a credential for exactly this host."""
        return host in self._by_host

    def take_off(self, request: http.Request, host: str) -> None:
        """Removes what the agent sent as credentials, and asks for a response that can be scrubbed."""
        request.headers.pop("proxy-authorization", None)
        if not self.owns(host):
            return
        for name in (*_CREDENTIAL_HEADERS, *(c.header for c in self._by_host[host])):
            request.headers.pop(name, None)
        request.headers["accept-encoding"] = "identity"

    def put_on(self, flow: http.HTTPFlow, host: str) -> None:
        """Sets the real credential; only over TLS to port 443 of the named host."""
        request = flow.request
        sni = (flow.client_conn.sni or "").lower()
        if request.scheme != "https" or request.port != HTTPS_PORT or sni != host:
            return
        for credential in self._by_host.get(host, ()):
            request.headers[credential.header] = credential.prefix + self._values[credential.name]

    def scrubbers(self, host: str) -> list[Scrubber]:
        """One per credential of this host."""
        return [self._scrubbers[c.name] for c in self._by_host.get(host, ())]

    def scrub_headers(self, headers: http.Headers, host: str) -> None:
        """Stars out an echoed value in response headers or trailers."""
        scrubbers = self.scrubbers(host)
        if scrubbers:
            fields = []
            for name, value in headers.fields:
                for scrubber in scrubbers:
                    value = scrubber.scrub(value)
                fields.append((name, value))
            headers.fields = tuple(fields)

    def stream(self, host: str) -> StreamScrubber | bool:
        """What to set as the stream callable of a response."""
        scrubbers = self.scrubbers(host)
        return StreamScrubber(scrubbers) if scrubbers else True

    def scrub(self, data: bytes, host: str) -> bytes:
        """A complete body or message."""
        for scrubber in self.scrubbers(host):
            data = scrubber.scrub(data)
        return data
