"""What is found in a request, and what is not mistaken for a finding."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import unittest
import zlib

import brotli
import zstandard
from bench import AWS_KEY, EXACT, Scene


class Judging(Scene):
    def test_clean_request_passes_and_is_audited_first(self) -> None:
        reply = self.post(json.dumps({"hello": "world"}))
        self.assertEqual((reply.status, reply.body), (200, b"ok"))
        self.assertEqual(len(self.upstream.arrived), 1)
        line = self.interceptor.wait("audit", verdict="allow", method="POST")
        self.assertEqual((line["host"], line["kind"], line["path"]), ("api.test", "http", "/v1"))
        self.assertEqual((line["bottle"], line["policy_generation"], line["scan_id"]), ("bottle-1", 1, "scan-1"))

    def test_secret_in_json_value_key_and_escape(self) -> None:
        for body in (
            json.dumps({"a": AWS_KEY}),
            json.dumps({AWS_KEY: 1}),
            '{"a": "' + AWS_KEY.replace("K", "\\u004b") + '"}',
            json.dumps({"inner": json.dumps({"a": 1})[:-1] + AWS_KEY.replace("K", "\\u004b")}),
            '{"a": "' + AWS_KEY + '", "a": "harmless"}',
        ):
            with self.subTest(body=body):
                self.assert_denied(self.post(body), "DLP-AWS Access ID")

    def test_secret_split_over_fields(self) -> None:
        body = json.dumps({"first": AWS_KEY[:9], "second": AWS_KEY[9:]})
        self.assert_denied(self.post(body), "DLP-AWS Access ID")

    def test_secret_split_over_messages_with_a_known_neighbour(self) -> None:
        self.assertEqual(self.post(json.dumps([AWS_KEY[:9]])).status, 200)
        self.upstream.arrived.clear()
        self.assert_denied(self.post(json.dumps([AWS_KEY[:9], AWS_KEY[9:]])), "DLP-AWS Access ID")

    def test_secret_in_encoded_bodies(self) -> None:
        plain = json.dumps({"a": AWS_KEY}).encode()
        raw_deflate = zlib.compressobj(wbits=-15)
        for name, data in (
            ("gzip", gzip.compress(plain)),
            ("deflate", zlib.compress(plain)),
            ("deflate", raw_deflate.compress(plain) + raw_deflate.flush()),
            ("br", brotli.compress(plain)),
            ("zstd", zstandard.compress(plain)),
            ("gzip, br", brotli.compress(gzip.compress(plain))),
            ("gzip", gzip.compress(b"{}") + gzip.compress(plain)),
        ):
            with self.subTest(encoding=name):
                reply = self.post(data, Content_Encoding=name)
                self.assertEqual(reply.status, 403)
                self.assertEqual(self.upstream.arrived, [])

    def test_clean_encoded_body_arrives_untouched(self) -> None:
        data = brotli.compress(b'{"a":"b"}')
        self.assertEqual(self.post(data, Content_Encoding="br").status, 200)
        self.assertEqual(self.upstream.arrived[0][2], data)

    def test_broken_unknown_and_too_deep_encodings(self) -> None:
        for name, data in (
            ("gzip", b"not gzip"),
            ("gzip", gzip.compress(b"{}")[:-6]),
            ("deflate", zlib.compress(b"{}") + b"tail"),
            ("br", brotli.compress(b"{}")[:-1]),
            ("zstd", zstandard.compress(b"{}")[:-1]),
            ("lzma", b"x"),
            ("gzip, gzip, gzip, gzip", b"x"),
        ):
            with self.subTest(encoding=name):
                self.assert_denied(self.post(data, Content_Encoding=name), "BOTTLE-encoding")

    def test_bombs(self) -> None:
        zeros = bytes(64 << 20)
        for name, data in (
            ("gzip", gzip.compress(zeros)),
            ("br", brotli.compress(zeros, quality=1)),
            ("zstd", zstandard.compress(zeros)),
        ):
            with self.subTest(encoding=name):
                self.assert_denied(self.post(data, Content_Encoding=name), "BOTTLE-body-limit")

    def test_secret_in_form_and_multipart(self) -> None:
        escaped = "".join(f"%{ord(c):02x}" for c in AWS_KEY)
        self.assert_denied(self.post(f"a=1&b={escaped}", "application/x-www-form-urlencoded"), "DLP-AWS Access ID")
        multipart = "multipart/form-data; boundary=XX"
        parts = (
            f'--XX\r\nContent-Disposition: form-data; name="f"; filename="{AWS_KEY}"\r\n\r\nx\r\n--XX--\r\n',
            f'--XX\r\nContent-Disposition: form-data; name="f"\r\n\r\n{AWS_KEY}\r\n--XX--\r\n',
            f"--XX\r\nContent-Type: application/json\r\n\r\n{json.dumps([AWS_KEY])}\r\n--XX--",
            f"--XX\r\nContent-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(AWS_KEY.encode()).decode()}\r\n--XX--",
            f"{AWS_KEY}\r\n--XX\r\n\r\nx\r\n--XX--",
            f"--XX\r\n\r\nx\r\n--XX--\r\n{AWS_KEY}",
        )
        for body in parts:
            with self.subTest(body=body):
                self.assert_denied(self.post(body, multipart), "DLP-AWS Access ID")
        self.assert_denied(self.post("--XX\r\n\r\nx\r\n", multipart), "BOTTLE-body")
        self.assert_denied(self.post("x", "multipart/form-data"), "BOTTLE-body")

    def test_exact_secret_in_the_url(self) -> None:
        escaped = "".join(f"%{ord(c):02x}" for c in EXACT)
        for path in (f"/?q={escaped}", f"/{escaped.replace('%', '%25')}", f"/{EXACT}"):
            with self.subTest(path=path):
                self.assert_denied(self.ask(path=path), "DLP-Bottle Secret 1")

    def test_odd_text(self) -> None:
        references = "".join(f"&#{ord(c)};" for c in AWS_KEY)
        self.assert_denied(self.post(f"<a>{references}</a>", "application/xml"), "DLP-AWS Access ID")
        self.assert_denied(
            self.post(AWS_KEY[:10].encode() + b"\0" + AWS_KEY[10:].encode(), "text/plain"), "DLP-AWS Access ID"
        )
        self.assert_denied(self.post(b"caf\xe9 " + AWS_KEY[:18].encode() + b"\0LE", "text/plain"), "DLP-AWS Access ID")
        self.assert_denied(self.post(b"x", "text/plain; charset=utf-7"), "BOTTLE-body")

    def test_claimed_json_that_is_not(self) -> None:
        self.assert_denied(self.post("{'a': 1,}"), "BOTTLE-body")
        self.assert_denied(self.post(b"\xff\x00\x01{}"), "BOTTLE-body")

    def test_json_lines_and_unlabelled_json(self) -> None:
        lines = '{"a": 1}\n{"b": "' + AWS_KEY.replace("A", "\\u0041") + '"}\n'
        self.assert_denied(self.post(lines, "application/x-ndjson"), "DLP-AWS Access ID")
        self.assert_denied(self.post(lines.splitlines()[1], "text/plain"), "DLP-AWS Access ID")

    def test_utf16_body(self) -> None:
        self.assert_denied(self.post(AWS_KEY.encode("utf-16"), "text/plain"), "DLP-AWS Access ID")
        self.assert_denied(self.post(AWS_KEY.encode("utf-16-le"), "text/plain"), "DLP-AWS Access ID")

    def test_secret_in_path_query_header_cookie_and_header_name(self) -> None:
        self.assert_denied(self.ask(path=f"/{AWS_KEY}"), "DLP-AWS Access ID")
        self.assert_denied(self.ask(path=f"/?q={AWS_KEY}"), "DLP-AWS Access ID")
        for host, name, value in (
            ("api.test", "X-Note", AWS_KEY),
            ("api.test", "User-Agent", AWS_KEY),
            ("api.test", AWS_KEY, "x"),
            ("api.test", "Accept-Encoding", AWS_KEY),
            ("other.test", "Cookie", f"a={AWS_KEY}"),
            ("other.test", "Authorization", f"Bearer {AWS_KEY}"),
        ):
            with self.subTest(name=name):
                expected = "DLP-AWS Access ID"
                if name == "Accept-Encoding":
                    self.assertEqual(self.ask(headers={name: value}).status, 200)
                    self.assertNotIn(AWS_KEY, str(self.upstream.arrived))
                    self.upstream.arrived.clear()
                    host = "other.test"
                self.assert_denied(self.ask(headers={name: value}, host=host), expected)

    def test_audit_lines_hold_no_secret(self) -> None:
        self.ask(path=f"/x?token={EXACT}")
        self.ask(path=f"/{AWS_KEY}")
        self.assertEqual(self.ask(path="/q?key=value-of-the-query").status, 200)
        self.interceptor.wait("audit", path="/q?key=" + "sha256:" + _digest("value-of-the-query"))
        text = json.dumps(self.interceptor.events) + self.interceptor.log()
        for secret in (EXACT, AWS_KEY, "value-of-the-query"):
            self.assertNotIn(secret, text)

    def test_exact_secret_in_every_form(self) -> None:
        value = EXACT.encode()
        for form in (
            EXACT,
            base64.b64encode(value).decode(),
            base64.b64encode(b"x" + value + b"yz").decode(),
            base64.b64encode(b"xx" + value).decode(),
            base64.urlsafe_b64encode(value).decode(),
            value.hex(),
            value.hex().upper(),
            "".join(f"%{b:02X}" if not chr(b).isalnum() and chr(b) not in "-_.~" else chr(b) for b in value),
        ):
            with self.subTest(form=form):
                self.assert_denied(self.post(json.dumps({"a": f"before {form} after"})), "DLP-Bottle Secret 1")

    def _image(self, inside: bytes = b"") -> str:
        noise = random.Random(1).randbytes(250_000)
        data = b"\x89PNG\r\n\x1a\n" + noise + inside + noise
        source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(data).decode()}
        return json.dumps({"messages": [{"role": "user", "content": [{"type": "image", "source": source}]}]})

    def test_large_image_passes_without_being_scanned_as_text(self) -> None:
        self.assertEqual(self.post(self._image()).status, 200)
        self.assertLess(max(map(len, self.gate.texts)), 10_000)

    def test_image_with_a_secret_inside(self) -> None:
        self.assert_denied(self.post(self._image(EXACT.encode())), "DLP-Bottle Secret 1")
        self.upstream.arrived.clear()
        self.assert_denied(
            self.post(self._image(b"\0" + base64.b64encode(EXACT.encode()) + b"\0")), "DLP-Bottle Secret 1"
        )
        self.assert_denied(self.post(self._image(b"\0" + AWS_KEY.encode() + b"\0")), "DLP-AWS Access ID")

    def test_text_called_an_image(self) -> None:
        source = {
            "type": "base64",
            "media_type": "image/png",
            "data": base64.b64encode(f"key {AWS_KEY}".encode()).decode(),
        }
        self.assert_denied(self.post(json.dumps(source)), "DLP-AWS Access ID")
        url = "data:text/plain;base64," + base64.b64encode(AWS_KEY.encode()).decode()
        self.assert_denied(self.post(json.dumps([url])), "DLP-AWS Access ID")

    def test_binary_body(self) -> None:
        noise = os.urandom(50_000)
        self.assertEqual(self.post(b"\xff\0\xfe" + noise, "application/octet-stream").status, 200)
        self.upstream.arrived.clear()
        self.assert_denied(
            self.post(b"\xff\0\xfe" + noise + EXACT.encode(), "application/octet-stream"), "DLP-Bottle Secret 1"
        )
        packed = gzip.compress(noise + b"\0" + AWS_KEY.encode() + b"\0")
        self.assert_denied(self.post(packed, "application/octet-stream"), "DLP-AWS Access ID")

    def test_resent_conversation_costs_only_the_new_text(self) -> None:
        old = [{"role": "user", "content": f"turn {i} " + "words " * 400} for i in range(20)]
        self.assertEqual(self.post(json.dumps(old)).status, 200)
        first = sum(map(len, self.gate.texts))
        self.gate.texts.clear()
        self.assertEqual(self.post(json.dumps([*old, {"role": "user", "content": "something new"}])).status, 200)
        self.assertLess(sum(map(len, self.gate.texts)), first / 10)
        self.gate.texts.clear()
        self.assertEqual(self.post(json.dumps(old)).status, 200)
        self.assertEqual(self.gate.texts, [])

    def test_long_text_is_judged_in_overlapping_pieces(self) -> None:
        text = "word " * 52_428
        position = (128 << 10) - 10
        self.assert_denied(self.post(json.dumps([text[:position] + AWS_KEY + text[position:]])), "DLP-AWS Access ID")

    def test_denied_text_is_never_cached(self) -> None:
        for _ in range(2):
            self.assert_denied(self.post(json.dumps([AWS_KEY])), "DLP-AWS Access ID")


class Warn(Scene):
    changes = {"dlp_action": "warn"}

    def test_dlp_finding_passes_with_an_audit_line(self) -> None:
        for _ in range(2):
            self.assertEqual(self.post(json.dumps([AWS_KEY])).status, 200)
            line = self.interceptor.wait("audit", verdict="warn")
            self.assertEqual(line["rule_ids"], ["DLP-AWS Access ID"])

    def test_destination_finding_is_never_softened(self) -> None:
        self.gate.allow.discard("api.test")
        self.addCleanup(self.gate.allow.add, "api.test")
        self.assert_denied(self.post(json.dumps([AWS_KEY])), "URL-allowlist")


def _digest(text: str) -> str:
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()[:12]


if __name__ == "__main__":
    unittest.main()
