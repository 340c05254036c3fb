"""Texts already found clean under the policy in force, so that a resent conversation costs nothing."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256


class VerdictCache:
    """Bounded, least recently used first out. Keys are hashes: no text is kept."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._clean: OrderedDict[bytes, None] = OrderedDict()
        self.hits = 0
        self.misses = 0

    @staticmethod
    def key(generation: int, text: str) -> bytes:
        """Identifies a text under a policy generation."""
        return sha256(b"%d\0" % generation + text.encode("utf-8", "surrogatepass")).digest()

    def is_clean(self, key: bytes) -> bool:
        """Whether this text was allowed before; refreshes its place."""
        if key in self._clean:
            self._clean.move_to_end(key)
            self.hits += 1
            return True
        self.misses += 1
        return False

    def add(self, key: bytes) -> None:
        """Remembers an allowed text."""
        self._clean[key] = None
        self._clean.move_to_end(key)
        while len(self._clean) > self._entries:
            self._clean.popitem(last=False)

    def clear(self) -> None:
        """Forgets everything."""
        self._clean.clear()
