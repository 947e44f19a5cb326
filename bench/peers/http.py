"""As much HTTP/1.1 as a caller of a peer's JSON gateway needs: one connection kept, one request after the other.

It is a caller's hot path during a fault, so it does little: no redirects, no compression, no second try.
"""

from __future__ import annotations

from typing import Final

import trio

from replica.errors import ReplicaError

CHUNK_BYTES: Final = 65_536
HEADER_END: Final = b"\r\n\r\n"


class HttpLost(ReplicaError):
    """The connection broke, or what came is no HTTP: whether the request was done is not known."""


class HttpLine:
    """One connection to `host:port`, made when it is first needed and again after it broke. One request at a time."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.address = address
        self._host, self._port = host, int(port)
        self._stream: trio.SocketStream | None = None
        self._read = b""

    @property
    def connected(self) -> bool:
        return self._stream is not None

    async def connect(self) -> None:
        """Raises HttpLost where nobody listens."""
        if self._stream is None:
            try:
                self._stream = await trio.open_tcp_stream(self._host, self._port)
            except OSError as problem:
                raise HttpLost(f"{self.address}: {problem}") from problem
            self._read = b""

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer. Raises HttpLost; cancelled, the connection is closed, as its answer might
        come later."""
        return await self.request(
            b"POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (path.encode(), self.address.encode(), len(body), body)
        )

    async def get(self, path: str) -> tuple[int, bytes]:
        """As `post`."""
        return await self.request(b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path.encode(), self.address.encode()))

    async def request(self, text: bytes) -> tuple[int, bytes]:
        """Send the request as it is and read one answer."""
        answered = False
        try:
            await self.connect()
            assert self._stream is not None, "just connected"
            await self._stream.send_all(text)
            answer = await self._answer()
            answered = True
            return answer
        except (trio.BrokenResourceError, trio.ClosedResourceError, ValueError) as problem:
            raise HttpLost(f"{self.address}: {problem}") from problem
        finally:
            if not answered:
                self.close()

    def close(self) -> None:
        """At once; whoever waits for an answer here is told. It may be used again."""
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None

    async def _answer(self) -> tuple[int, bytes]:
        head = (await self._until(HEADER_END)).lower()
        status = int(head.split(b" ", 2)[1])
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name == b"content-length":
                return status, await self._exactly(int(value))
            if name == b"transfer-encoding" and value.strip() == b"chunked":
                return status, await self._chunks()
        return status, b""

    async def _chunks(self) -> bytes:
        body = b""
        while True:
            size = int((await self._until(b"\r\n")).split(b";")[0], 16)
            if size == 0:
                while (await self._until(b"\r\n")) != b"":
                    pass  # trailers
                return body
            body += await self._exactly(size)
            await self._exactly(2)

    async def _until(self, mark: bytes) -> bytes:
        while (end := self._read.find(mark)) < 0:
            await self._more()
        found, self._read = self._read[:end], self._read[end + len(mark) :]
        return found

    async def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            await self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    async def _more(self) -> None:
        assert self._stream is not None, "only read while connected"
        chunk = await self._stream.receive_some(CHUNK_BYTES)
        if not chunk:
            raise HttpLost(f"{self.address} closed the connection")
        self._read += chunk
