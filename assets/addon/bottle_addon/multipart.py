"""Splits a multipart body so that every byte of it ends up in some part."""

from __future__ import annotations

import base64
import binascii
import quopri
import re

from bottle_addon.refusal import Deny

MOST_PARTS = 1000
_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)

Headers = list[tuple[str, str]]


def boundary_of(content_type: str) -> bytes:
    """The boundary parameter; its absence or repetition is a refusal."""
    found = _BOUNDARY.findall(content_type)
    if len(found) != 1:
        raise Deny(["BOTTLE-body"], "the multipart body has no single boundary")
    return (found[0][0] or found[0][1]).encode()


def _decode_transfer(content: bytes, encoding: str) -> bytes:
    match encoding.strip().lower():
        case "" | "7bit" | "8bit" | "binary":
            return content
        case "base64":
            try:
                return base64.b64decode(b"".join(content.split()), validate=True)
            except binascii.Error:
                raise Deny(["BOTTLE-body"], "a multipart part is not validly encoded") from None
        case "quoted-printable":
            return quopri.decodestring(content)
    raise Deny(["BOTTLE-body"], "a multipart part has an unknown transfer encoding")


def _part(raw: bytes) -> tuple[Headers, bytes]:
    head, separator, content = raw.partition(b"\r\n\r\n") if not raw.startswith(b"\r\n") else (b"", b"x", raw[2:])
    if not separator:
        return [], raw
    headers: Headers = []
    for line in head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        if name or value:
            headers.append((name.strip().lower(), value.strip()))
    return headers, _decode_transfer(content, dict(headers).get("content-transfer-encoding", ""))


def parts_of(body: bytes, boundary: bytes) -> list[tuple[Headers, bytes]]:
    """All parts; preamble and epilogue come back as parts without headers."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise Deny(["BOTTLE-body"], "the multipart body does not end with its boundary")
    if len(pieces) > MOST_PARTS:
        raise Deny(["BOTTLE-body"], "the multipart body has too many parts")
    outside = [([], edge) for edge in (pieces[0], pieces[-1][2:]) if edge.strip()]
    return outside + [_part(piece.lstrip(b" \t").removeprefix(b"\r\n")) for piece in pieces[1:-1]]
