"""Exact secrets: the encoded forms a value may travel in, and the search for them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote_from_bytes

SHORTEST_FORM = 6


def _base64_cores(value: bytes) -> Iterable[bytes]:
    """The characters that depend on `value` alone, for each of the three alignments."""
    for lead, skip in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * lead + value)
        yield encoded[skip : 8 * (lead + len(value)) // 6]


def forms(value: bytes) -> list[bytes]:
    """Raw, base64 and base64url at every alignment, hex in both cases, percent-encoded in both cases."""
    found = [value]
    for core in _base64_cores(value):
        found += [core, core.translate(bytes.maketrans(b"+/", b"-_"))]
    found += [value.hex().encode(), value.hex().upper().encode()]
    percent = quote_from_bytes(value, safe="").encode()
    found += [percent, re.sub(rb"%[0-9A-F]{2}", lambda m: m.group().lower(), percent)]
    return [form for form in dict.fromkeys(found) if len(form) >= SHORTEST_FORM]


@dataclass(frozen=True, repr=False)
class ExactSecret:
    """One value that must not leave; `name` is what findings and audit lines call it."""

    name: str
    value: bytes
    forms: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "forms", tuple(forms(self.value)))


class ExactSecrets:
    """A set of exact secrets, searched in bytes."""

    def __init__(self, secrets: Iterable[ExactSecret]) -> None:
        self._secrets = tuple(secrets)
        every = sorted({form for s in self._secrets for form in s.forms}, key=len, reverse=True)
        self._any = re.compile(b"|".join(map(re.escape, every)), re.IGNORECASE) if every else None

    def find(self, data: bytes) -> str | None:
        """Name of the first secret that occurs in `data` in any form."""
        for secret in self._secrets:
            if any(form in data for form in secret.forms):
                return secret.name
        return None

    def mask(self, text: str) -> str:
        """`text` fit for a log line: every occurrence, in any case, replaced."""
        if self._any is None:
            return text
        return self._any.sub(b"[secret]", text.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")
