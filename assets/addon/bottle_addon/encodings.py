"""Undoes Content-Encoding strictly: an unknown name, a broken stream or a bomb is a refusal."""

from __future__ import annotations

import io
import zlib

import brotli
import zstandard

from bottle_addon.refusal import Deny

MOST_LAYERS = 3
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class TooLarge(Exception):
    """The decoded form is over the limit."""


class Broken(Exception):
    """The stream is not what its name says."""


def _zlib(data: bytes, wbits: int, limit: int) -> bytes:
    out = bytearray()
    while data:
        decoder = zlib.decompressobj(wbits)
        try:
            out += decoder.decompress(data, limit + 1 - len(out))
        except zlib.error as error:
            raise Broken from error
        if len(out) > limit:
            raise TooLarge
        if not decoder.eof:
            raise Broken
        data = decoder.unused_data
        if data and wbits != zlib.MAX_WBITS | 16:
            raise Broken
    return bytes(out)


def _gzip(data: bytes, limit: int) -> bytes:
    return _zlib(data, zlib.MAX_WBITS | 16, limit)


def _deflate(data: bytes, limit: int) -> bytes:
    try:
        return _zlib(data, zlib.MAX_WBITS, limit)
    except Broken:
        return _zlib(data, -zlib.MAX_WBITS, limit)


def _brotli(data: bytes, limit: int) -> bytes:
    decoder = brotli.Decompressor()
    out = bytearray()
    try:
        chunk = decoder.process(data, output_buffer_limit=1 << 20)
        while chunk or not decoder.can_accept_more_data():
            out += chunk
            if len(out) > limit:
                raise TooLarge
            chunk = decoder.process(b"", output_buffer_limit=1 << 20)
    except brotli.error as error:
        raise Broken from error
    if not decoder.is_finished():
        raise Broken
    return bytes(out)


def _zstd(data: bytes, limit: int) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    out = bytearray()
    try:
        while data:
            stream = decoder.decompressobj()
            source = io.BytesIO(data)
            while not stream.eof:
                piece = source.read(4096)
                if not piece:
                    raise Broken
                out += stream.decompress(piece)
                if len(out) > limit:
                    raise TooLarge
            data = stream.unused_data + source.read()
    except zstandard.ZstdError as error:
        raise Broken from error
    return bytes(out)


_DECODERS = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}


def decode_body(raw: bytes, encoding: str, limit: int) -> bytes:
    """The body as the receiver will read it; `limit` bounds every intermediate form."""
    names = [name.strip().lower() for name in encoding.split(",") if name.strip()]
    layers = [name for name in names if name != "identity"]
    if len(layers) > MOST_LAYERS:
        raise Deny(["BOTTLE-encoding"], f"at most {MOST_LAYERS} content encodings are undone")
    for name in reversed(layers):
        decoder = _DECODERS.get(name)
        if decoder is None:
            raise Deny(["BOTTLE-encoding"], "send the body with a content encoding of gzip, deflate, br, zstd or none")
        try:
            raw = decoder(raw, limit) if raw else raw
        except TooLarge:
            raise Deny(["BOTTLE-body-limit"], "the decoded body is over egress.limits.max_body") from None
        except Broken:
            raise Deny(["BOTTLE-encoding"], "the body is not validly encoded") from None
    return raw


def unpacked(data: bytes, limit: int) -> bytes | None:
    """What a gzip or zstd file holds, or None when `data` is no such file."""
    decoder = _gzip if data.startswith(GZIP_MAGIC) else _zstd if data.startswith(ZSTD_MAGIC) else None
    if decoder is None:
        return None
    try:
        return decoder(data, limit)
    except TooLarge:
        raise Deny(["BOTTLE-body-limit"], "the unpacked content is over egress.limits.max_body") from None
    except Broken:
        return None
