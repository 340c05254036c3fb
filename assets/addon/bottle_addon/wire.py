"""The little HTTP/1.1 that the scan client and the probe speak to the gate."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

MOST_HEAD_BYTES = 64 << 10
MOST_BODY_BYTES = 1 << 20


class WireError(Exception):
    """The peer does not speak HTTP as expected."""


class CutShort(WireError):
    """The peer is gone before its answer was complete."""


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


async def read_head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers (lower-case names)."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, OSError) as error:
        raise CutShort("no response head") from error
    except asyncio.LimitOverrunError as error:
        raise WireError("no response head") from error
    lines = head.decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise WireError("no status line")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(rest[:3]), headers


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """A response whose body has a Content-Length or is chunked."""
    status, headers = await read_head(reader)
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = await _read_chunks(reader)
        elif status in (204, 304):
            body = b""
        else:
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MOST_BODY_BYTES:
                raise WireError("no usable Content-Length")
            body = await reader.readexactly(int(length))
    except (asyncio.IncompleteReadError, OSError) as error:
        raise CutShort("the body is cut short") from error
    except (asyncio.LimitOverrunError, ValueError) as error:
        raise WireError("the body is malformed") from error
    return Answer(status, headers, body, headers.get("connection", "").lower() != "close")


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size < 0 or len(body) + size > MOST_BODY_BYTES:
            raise WireError("the body is too large")
        body += await reader.readexactly(size)
        if await reader.readexactly(2) != b"\r\n":
            raise WireError("a chunk has no end")
        if size == 0:
            return bytes(body)
