"""Texts already found clean under the policy in force, so that a resent conversation costs nothing.

A restarted gate has the same policy, so what was clean stays clean: entries outlive the gate, but not the generation
they were made under. A gate with another policy cannot profit from them, nor leave any behind: before a remembered
text counts, a gate that may have been away says who it is by `/health` (`gate`), and when that is not what was said
before, everything is forgotten, and the requests already begun are refused. Destinations are never remembered. What
an official pipelock with other rules but equal version, mode and number of rules says cannot be told apart; whoever
changes those rules sends a policy line, whose new generation forgets everything too.
"""

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
