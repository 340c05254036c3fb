"""Base64 data fields of the Messages API and `data:` URLs: cut out, decoded, and judged by their bytes.

Random base64 collides with patterns of well-known credentials, so encoded images are never judged as text.
"""

from __future__ import annotations

import base64
import binascii
import re

_DATA_URL = re.compile(r"(data:[\w.+/=;-]{0,128};base64,)([A-Za-z0-9+/=_\s-]*)", re.IGNORECASE)
_RUN = re.compile(rb"[\x20-\x7e]{20,}|(?:[\x20-\x7e]\0){20,}")
_ATTACHMENT_MEDIA = ("image/", "application/pdf", "text/", "audio/", "video/")


def decode_base64(text: str) -> bytes | None:
    """Strictly decoded standard or URL-safe base64, with or without padding; None when it is neither."""
    bare = re.sub(r"\s", "", text).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def is_attachment(pairs: list[tuple[str, object]]) -> bool:
    """Whether an object is a source of the form {type: base64, media_type, data}."""
    fields = dict(pairs)
    media = fields.get("media_type")
    known = isinstance(media, str) and media.lower().startswith(_ATTACHMENT_MEDIA)
    return known and fields.get("type") == "base64" and len(fields) == len(pairs)


def data_url_payload(text: str) -> tuple[str, bytes] | None:
    """Header and decoded bytes when the whole string is a base64 `data:` URL."""
    match = _DATA_URL.fullmatch(text)
    data = decode_base64(match.group(2)) if match else None
    return (match.group(1), data) if match and data is not None else None


def printable_runs(data: bytes) -> str:
    """Readable passages of binary data; random bytes have practically none of this length."""
    return "\n".join(run.replace(b"\0", b"").decode("ascii") for run in _RUN.findall(data))
