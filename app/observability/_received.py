"""What a client sends: it is looked at on its way to the application, and so is whether the client is still there."""

from collections.abc import Collection
from types import CoroutineType

from ._asgi import Message, Receive
from ._identity import Headers
from ._payload import Payload


class Received:
    """The receiving half of one request."""

    __slots__ = ("_ahead", "_headers", "_payload", "_receive", "_receiving", "finished", "gone")

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self._headers = headers
        self._receive = receive
        self._receiving = False
        self._ahead: Message | None = None  # received by us, and not yet by the application
        self._payload: Payload | None = None
        #: How it came that nobody listens any more: `client_disconnect` or `cancelled`.
        self.gone = ""
        #: Whether the last byte of the response is sent, or never will be.
        self.finished = False

    async def receive(self) -> Message:
        """Hand on what the client sends, and look at it."""
        if self._ahead is not None:
            message, self._ahead = self._ahead, None
            return message
        self._receiving = True
        try:
            message = await self._receive()
        finally:
            self._receiving = False
        self._look_at(message)
        return message

    def _look_at(self, message: Message) -> None:
        if message["type"] != "http.request":
            if not self.finished:
                self.gone = "client_disconnect"
        elif chunk := message.get("body"):
            if self._payload is None:
                self._payload = Payload()
            self._payload.add(chunk)

    def look_ahead(self) -> None:
        """Ask the server, without waiting, whether the client left: an application that is busy never does."""
        if self._ahead is not None or self._receiving or self._is_body_asked_for():
            return
        asked = self._receive()
        if not isinstance(asked, CoroutineType):
            return
        try:
            asked.send(None)
        except StopIteration as answered:
            self._look_at(answered.value)
            if not self.gone:
                self._ahead = answered.value
        else:
            asked.close()  # nothing to tell: the client is there, and waits

    def _is_body_asked_for(self) -> bool:
        """Return whether asking would tell a client to go on that waits for this word (RFC 9110, section 10.1.1)."""
        return self._payload is None and b"expect" in [name for name, _ in self._headers]

    def facts(self, values: Collection[str]) -> dict[str, object]:
        """Describe the body; `values` are the keys whose values may be told."""
        return self._payload.facts(self._headers, values) if self._payload else {}
