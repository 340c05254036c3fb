"""What stands for the outside world: one host that may be reached, and ports that must not be.

Writes one line to `forbidden.log` for whatever arrives that must not, and one line for each request of the
allowed host to `arrivals.log`, with its body. Usage: world.py ADDRESS CERTIFICATE_AND_KEY.pem DIR MARK...
"""

import asyncio
import base64
import json
import ssl
import sys
import time

TCP_SINKS = (22, 80, 8080, 9999)
UDP_SINKS = (53, 9999)
FORBIDDEN_HOST = "sink.example.net"

address, pem, directory, *marks = sys.argv[1:]
arrivals = open(f"{directory}/arrivals.log", "a", buffering=1)
forbidden = open(f"{directory}/forbidden.log", "a", buffering=1)


def blame(what, data):
    line = {"time": time.time(), "what": what, "data": base64.b64encode(data[:512]).decode()}
    print(json.dumps(line), file=forbidden)


def marked(data):
    return any(mark.encode() in data for mark in marks)


async def allowed(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode("latin-1").split("\r\n")
            method, path, _ = lines[0].split(" ", 2)
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            if headers.get("host", "").split(":")[0] == FORBIDDEN_HOST or marked(head + body):
                blame("a forbidden request", head + body)
            line = {"time": time.time(), "path": path, "body": base64.b64encode(body).decode()}
            print(json.dumps(line), file=arrivals)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError, ValueError, ssl.SSLError):
        pass
    finally:
        writer.close()


async def sink(reader, writer):
    port = writer.get_extra_info("sockname")[1]
    blame(f"a connection to port {port}", b"")
    try:
        while data := await asyncio.wait_for(reader.read(65536), 5):
            blame(f"bytes to port {port}", data)
    except (OSError, TimeoutError):
        pass
    finally:
        writer.close()


class Datagrams(asyncio.DatagramProtocol):
    def datagram_received(self, data, addr):
        blame("a datagram", data)


async def main():
    loop = asyncio.get_running_loop()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    context.set_alpn_protocols(["http/1.1"])
    await asyncio.start_server(allowed, address, 443, ssl=context, backlog=512)
    for port in TCP_SINKS:
        await asyncio.start_server(sink, address, port)
    for port in UDP_SINKS:
        await loop.create_datagram_endpoint(Datagrams, local_addr=(address, port))
    print("listening", flush=True)
    await loop.create_future()


asyncio.run(main())
