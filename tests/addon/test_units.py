"""The pure parts, without a process around them."""

from __future__ import annotations

import json
import random
import unittest
from pathlib import Path

from bottle_addon.cache import VerdictCache
from bottle_addon.exact import ExactSecret, ExactSecrets
from bottle_addon.policy import Policy, PolicyError, host_matches, is_host_name
from bottle_addon.scrub import Scrubber, StreamScrubber

DEFAULT_POLICY = json.loads(Path(__file__).with_name("default_policy.json").read_text())


class PolicyForm(unittest.TestCase):
    def test_the_runtimes_json_is_understood(self) -> None:
        policy = Policy.parse(DEFAULT_POLICY)
        self.assertTrue(policy.allows_host("api.anthropic.com"))
        self.assertEqual((policy.ports, policy.warn_only), (frozenset({443}), False))

    def test_a_missing_or_odd_field_is_an_error(self) -> None:
        for key in DEFAULT_POLICY:
            if key in ("private_hosts", "extra_hosts", "extra_ca"):
                continue
            with self.subTest(key=key), self.assertRaises(PolicyError):
                Policy.parse({k: v for k, v in DEFAULT_POLICY.items() if k != key} if key not in (
                    "allowlist", "http_hosts", "websocket_hosts"
                ) else {**DEFAULT_POLICY, key: "text"})  # fmt: skip

    def test_hosts(self) -> None:
        self.assertTrue(host_matches("*.x.test", "x.test") and host_matches("*.x.test", "a.b.x.test"))
        self.assertFalse(host_matches("*.x.test", "ax.test"))
        for host in ("1.2.3.4", "2130706433", "0x7f.0x1", "a..b", "-a.test", "A.test", "a.test.", "::1", ""):
            self.assertFalse(is_host_name(host), host)


class Cache(unittest.TestCase):
    def test_bounded_least_recently_used_and_by_generation(self) -> None:
        cache = VerdictCache(2)
        a, b, c = (VerdictCache.key(1, text) for text in "abc")
        cache.add(a)
        cache.add(b)
        self.assertTrue(cache.is_clean(a))
        cache.add(c)
        self.assertEqual((cache.is_clean(a), cache.is_clean(b), cache.is_clean(c)), (True, False, True))
        self.assertNotEqual(VerdictCache.key(1, "a"), VerdictCache.key(2, "a"))


class Scrubbing(unittest.TestCase):
    def test_any_cut_of_a_stream_gives_the_scrubbed_whole(self) -> None:
        value = "abcabcabd-secret"
        scrubber = Scrubber(value)
        dice = random.Random(4242)
        for _ in range(500):
            text = b"".join(
                dice.choice([value.encode(), b"abc", b"abcabc", b" x ", value[:9].encode()]) for _ in range(6)
            )
            stream = StreamScrubber([scrubber])
            out, rest = b"", text
            while rest:
                cut = dice.randint(1, 12)
                out += b"".join(_pieces(stream(rest[:cut])))
                rest = rest[cut:]
            out += b"".join(_pieces(stream(b"")))
            self.assertEqual(out, scrubber.scrub(text))
            self.assertEqual(len(out), len(text))

    def test_masking_ignores_case(self) -> None:
        secrets = ExactSecrets([ExactSecret("n", b"MySecretValue")])
        self.assertEqual(secrets.mask("mysecretvalue.evil.test"), "[secret].evil.test")
        self.assertNotIn("MySecretValue", repr(ExactSecret("n", b"MySecretValue")))


def _pieces(result: bytes | list[bytes]) -> list[bytes]:
    return [result] if isinstance(result, bytes) else result


if __name__ == "__main__":
    unittest.main()
