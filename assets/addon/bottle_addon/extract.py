"""Takes a decoded body apart into the strings and blobs that have to be judged."""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from bottle_addon.attachments import data_url_payload, decode_base64, is_attachment, printable_runs
from bottle_addon.encodings import unpacked
from bottle_addon.multipart import boundary_of, parts_of
from bottle_addon.refusal import Deny

DEEPEST_NESTING = 5
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_CHARSET = re.compile(r'charset="?([^\s;"]*)', re.IGNORECASE)
_KNOWN_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252", "utf-16"})
_PRINTABLE = bytes([9, 10, 13, *range(32, 127)])
_MOSTLY_UTF16 = re.compile(rb"(?:[\x09-\x7e]\0){8}|(?:\0[\x09-\x7e]){8}")


@dataclass(frozen=True)
class Field:
    """One string; `is_value` marks those that are also judged joined together."""

    text: str
    is_value: bool


@dataclass
class Extract:
    """Everything found, in document order."""

    fields: list[Field] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)

    def add(self, text: str, is_value: bool = True) -> None:
        """Records a string, and its form without backslash or character-reference escapes when it has some."""
        if not text:
            return
        self.fields.append(Field(text, is_value))
        plain = text
        if "\\u" in text or "\\x" in text:
            plain = _ESCAPE.sub(lambda m: chr(int(m.group(1) or m.group(2), 16)), plain)
        if "&#" in text:
            plain = html.unescape(plain)
        if plain != text:
            self.fields.append(Field(plain, False))

    def add_blob(self, data: bytes) -> None:
        """Records binary data: searched for exact secrets, its readable runs judged as text."""
        self.blobs.append(data)
        self.add(printable_runs(data), is_value=False)


class _Number(str):
    """A JSON number as it was written."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with its duplicate keys."""


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_Pairs, parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _walk_json(root: Any, out: Extract, limit: int) -> None:
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, _Number):
            out.add(node, is_value=False)
        elif isinstance(node, str):
            _add_string(node, out, limit)
        elif isinstance(node, _Pairs):
            attachment = is_attachment(node)
            for key, value in reversed(node):
                data = decode_base64(value) if attachment and key == "data" and isinstance(value, str) else None
                stack.append(_Blob(data) if data is not None else value)
                stack.append(_Key(key))
        elif isinstance(node, list):
            stack.extend(reversed(node))
        elif isinstance(node, _Key):
            out.add(node.text, is_value=False)
        elif isinstance(node, _Blob):
            _add_bytes(node.data, out, limit)


@dataclass(frozen=True)
class _Key:
    text: str


@dataclass(frozen=True)
class _Blob:
    data: bytes


def _add_string(text: str, out: Extract, limit: int) -> None:
    payload = data_url_payload(text)
    if payload is None:
        out.add(text)
    else:
        header, data = payload
        out.add(header, is_value=False)
        _add_bytes(data, out, limit)


def as_text(data: bytes) -> str | None:
    """UTF-8, UTF-16 by its mark or look, or whatever is mostly readable; None when it is binary."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        if _MOSTLY_UTF16.match(data):
            return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", "replace")
        return _mostly_text(data)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return _mostly_text(data)


def _mostly_text(data: bytes) -> str | None:
    """Text in some 8-bit set or with stray bytes; compressed data is never this readable."""
    strange = len(data.translate(None, _PRINTABLE))
    return data.decode("latin-1").replace("\0", "") if strange * 4 < len(data) else None


def _add_bytes(data: bytes, out: Extract, limit: int) -> None:
    """Attachments and files: text if it is text, else a blob; packed files are opened once."""
    text = as_text(data)
    if text is not None:
        out.add(text)
        return
    out.add_blob(data)
    inner = unpacked(data, limit)
    if inner is not None:
        inner_text = as_text(inner)
        if inner_text is not None:
            out.add(inner_text)
        else:
            out.add_blob(inner)


def _add_json_lines(text: str, out: Extract, limit: int) -> bool:
    try:
        roots = [_parse_json(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        return False
    for root in roots:
        _walk_json(root, out, limit)
    return True


def _add_json(text: str, out: Extract, limit: int) -> bool:
    try:
        root = _parse_json(text)
    except (ValueError, RecursionError):
        return _add_json_lines(text, out, limit)
    _walk_json(root, out, limit)
    return True


def strings_of(content_type: str, body: bytes, limit: int, depth: int = 0) -> Extract:
    """Every string of a decoded body.

    JSON gives keys and values, forms give pairs, multipart gives headers, file names and parts, and the
    rest is text or a blob by its looks. A body that claims a structure and does not have it is refused,
    because a more lenient receiver could read what this parser could not.
    """
    out = Extract()
    if not body:
        return out
    if depth > DEEPEST_NESTING:
        raise Deny(["BOTTLE-body"], "the body is nested too deeply")
    media = content_type.split(";", 1)[0].strip().lower()
    if any(name.lower() not in _KNOWN_CHARSETS for name in _CHARSET.findall(content_type)):
        raise Deny(["BOTTLE-body"], "send text in UTF-8")
    if media.startswith("multipart/"):
        for headers, content in parts_of(body, boundary_of(content_type)):
            for name, value in headers:
                out.add(f"{name}: {value}")
            inner = strings_of(dict(headers).get("content-type", ""), content, limit, depth + 1)
            out.fields += inner.fields
            out.blobs += inner.blobs
        return out
    text = as_text(body)
    if text is None:
        if "json" in media or "urlencoded" in media:
            raise Deny(["BOTTLE-body"], "the body is not the text its Content-Type says")
        _add_bytes(body, out, limit)
        return out
    claims_json = "json" in media
    if claims_json or text.lstrip()[:1] in ("{", "["):
        if _add_json(text, out, limit):
            return out
        if claims_json and text.strip():
            raise Deny(["BOTTLE-body"], "the body says it is JSON and is not")
    if media == "application/x-www-form-urlencoded":
        for key, value in parse_qsl(text, keep_blank_values=True, max_num_fields=10_000):
            out.add(key, is_value=False)
            out.add(value)
    out.add(text, is_value=media != "application/x-www-form-urlencoded")
    return out
