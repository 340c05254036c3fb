"""A stub of the Anthropic Messages API, for the demonstration and the tests.

Speaks HTTP/1.1 over TLS, streams its answers, and prints one JSON line for each request that arrives, so that
a test can prove what did and what did not get through. Credentials appear as SHA-256 only.

Usage: messages_stub.py ADDRESS PORT CERTIFICATE_AND_KEY.pem
"""

import asyncio
import hashlib
import json
import ssl
import sys

MAX_BODY = 64 << 20


async def read_body(reader, headers):
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
            if len(body) > MAX_BODY:
                raise ValueError("body too large")
        while (await reader.readline()).strip():
            pass
        return body
    length = int(headers.get("content-length", 0))
    if length > MAX_BODY:
        raise ValueError("body too large")
    return await reader.readexactly(length)


def last_prompt(request):
    for message in reversed(request.get("messages", [])):
        if message.get("role") != "user":
            continue
        content = message.get("content", "")
        if isinstance(content, str):
            return content
        texts = [part.get("text", "") for part in content if part.get("type") == "text"]
        texts = [text for text in texts if not text.startswith("<system-reminder>")]
        if texts:
            return texts[-1]
    return ""


def answer_text(request):
    return f"Hello from the stub. You said: {last_prompt(request)[:200]}"


def message(request, content):
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "model": request.get("model", "stub"),
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def events(request):
    text = answer_text(request)
    yield "message_start", {"message": message(request, [])}
    yield "content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}
    for start in range(0, len(text), 16):
        delta = {"type": "text_delta", "text": text[start : start + 16]}
        yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    yield "message_delta", {"delta": delta, "usage": {"output_tokens": 1}}
    yield "message_stop", {}


def head(status, kind, extra=""):
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{extra}".encode()


async def send_json(writer, value, status="200 OK"):
    body = json.dumps(value).encode()
    writer.write(head(status, "application/json", f"content-length: {len(body)}\r\n\r\n") + body)
    await writer.drain()


async def send_stream(writer, request):
    writer.write(head("200 OK", "text/event-stream", "transfer-encoding: chunked\r\n\r\n"))
    for name, data in events(request):
        piece = f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        await writer.drain()
        await asyncio.sleep(0.002)
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def arrival(method, path, headers, body):
    def digest(name):
        value = headers.get(name)
        return hashlib.sha256(value.encode()).hexdigest() if value else None

    line = {
        "method": method,
        "host": headers.get("host", ""),
        "path": path.split("?")[0],
        "bytes": len(body),
        "body_sha256": hashlib.sha256(body).hexdigest(),
        "authorization_sha256": digest("authorization"),
        "x_api_key_sha256": digest("x-api-key"),
    }
    print(json.dumps(line), flush=True)


async def serve(reader, writer):
    try:
        while request_line := (await reader.readline()).decode("latin-1").strip():
            method, path, _ = request_line.split(" ", 2)
            headers = {}
            while line := (await reader.readline()).decode("latin-1").strip():
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            if headers.get("expect", "").lower() == "100-continue":
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await read_body(reader, headers)
            arrival(method, path, headers, body)
            route = path.split("?")[0]
            if method == "POST" and route == "/v1/messages":
                request = json.loads(body)
                if request.get("stream"):
                    await send_stream(writer, request)
                else:
                    text = [{"type": "text", "text": answer_text(request)}]
                    await send_json(writer, message(request, text) | {"stop_reason": "end_turn"})
            elif route == "/v1/messages/count_tokens":
                await send_json(writer, {"input_tokens": 1})
            elif method == "HEAD":
                writer.write(head("200 OK", "application/json", "content-length: 0\r\n\r\n"))
                await writer.drain()
            else:
                await send_json(writer, {})
    except (ConnectionError, asyncio.IncompleteReadError, ValueError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def main():
    address, port, pem = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["http/1.1"])
    server = await asyncio.start_server(serve, address, port, ssl=context)
    print(json.dumps({"listening": f"{address}:{port}"}), flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
