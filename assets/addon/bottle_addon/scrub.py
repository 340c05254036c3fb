"""Removes a credential that a response echoes, also when it lies across chunk borders.

Every replacement has the length of what it replaces, so that Content-Length stays true.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bottle_addon.exact import forms


class Scrubber:
    """Pure text replacement for one credential value."""

    def __init__(self, value: str) -> None:
        self._forms = sorted(forms(value.encode()), key=len, reverse=True)
        self._pattern = re.compile(b"|".join(map(re.escape, self._forms)))

    def scrub(self, data: bytes) -> bytes:
        """`data` with every form of the value starred out."""
        return self._pattern.sub(lambda m: b"*" * len(m.group()), data)

    def held_back(self, data: bytes) -> int:
        """How many final bytes could be the beginning of a form and must wait for more."""
        longest = min(len(data), len(self._forms[0]) - 1) if self._forms else 0
        for size in range(longest, 0, -1):
            if any(form.startswith(data[-size:]) for form in self._forms if len(form) > size):
                return size
        return 0


class StreamScrubber:
    """A mitmproxy stream callable: gets chunks, an empty one at the end."""

    def __init__(self, scrubbers: Iterable[Scrubber]) -> None:
        self._scrubbers = tuple(scrubbers)
        self._rest = b""
        self._failed = False

    def __call__(self, chunk: bytes) -> bytes | list[bytes]:
        if self._failed:
            return []
        try:
            return self._step(chunk)
        except Exception:
            self._failed = True
            self._rest = b""
            return []

    def _step(self, chunk: bytes) -> bytes | list[bytes]:
        data = self._rest + chunk
        for scrubber in self._scrubbers:
            data = scrubber.scrub(data)
        keep = max((s.held_back(data) for s in self._scrubbers), default=0) if chunk else 0
        out, self._rest = data[: len(data) - keep], data[len(data) - keep :]
        return out if out else []
