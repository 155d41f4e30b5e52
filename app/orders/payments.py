"""The client of the payments service: a time-out, one retry, and the trace id on every call."""

import asyncio
import logging
from http import HTTPStatus

import httpx2
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random

from app.observability import inject, timer
from app.problems import ServiceError, UnavailableError

logger = logging.getLogger(__name__)
# Its lines show whole URLs, and our transport says when something goes wrong.
logging.getLogger("httpx2").setLevel(logging.WARNING)

_NO_ANSWER = "Payments does not answer."


class PaymentDeclinedError(ServiceError):
    """The payment was refused, and asking again will not change that."""

    status = HTTPStatus.PAYMENT_REQUIRED


class ObservedTransport(httpx2.AsyncBaseTransport):
    """Send the trace id along and time the call, also where it fails: httpx's hooks are not called then."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        """Wrap `transport`."""
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request, which may be a retry."""
        request.headers.update(inject())
        with timer("upstream"):
            return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class PaymentsClient:
    """Charges orders."""

    def __init__(self, base_url: str, timeout: float) -> None:
        """Call payments at `base_url`; each try may take `timeout` seconds."""
        transport = ObservedTransport(httpx2.AsyncHTTPTransport())
        self._http = httpx2.AsyncClient(base_url=base_url, timeout=timeout, transport=transport)
        self._timeout = timeout

    async def charge(self, order_id: int, amount_cents: int) -> None:
        """Charge an order once, even if payments is asked twice; `PaymentDeclinedError`, `UnavailableError`."""
        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(2),
            wait=wait_random(0.05, 0.2),
            before_sleep=_tell_retry,
            reraise=True,
        )
        try:
            response: httpx2.Response = await retrying(self._ask, order_id, amount_cents)
        except (httpx2.HTTPError, TimeoutError) as exc:
            raise UnavailableError(_NO_ANSWER) from exc
        if response.status_code == HTTPStatus.PAYMENT_REQUIRED:
            msg = f"The payment of order {order_id} was declined."
            raise PaymentDeclinedError(msg)
        logger.info("Order charged", extra={"order_id": order_id})

    async def ping(self) -> None:
        """Raise `UnavailableError` unless payments answers."""
        try:
            (await self._http.get("/healthz")).raise_for_status()
        except httpx2.HTTPError as exc:
            raise UnavailableError(_NO_ANSWER) from exc

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _ask(self, order_id: int, amount_cents: int) -> httpx2.Response:
        charge = {"order_id": order_id, "amount_cents": amount_cents}
        # httpx's own time-out is for each read: a server that drips could take for ever.
        async with asyncio.timeout(self._timeout):
            response = await self._http.post("/charges", json=charge)
        if response.status_code != HTTPStatus.PAYMENT_REQUIRED:
            response.raise_for_status()
        return response


def _may_pass(exc: BaseException) -> bool:
    """Whether asking again may help: not if payments says that the question is wrong."""
    if isinstance(exc, httpx2.HTTPStatusError):
        return exc.response.is_server_error
    return isinstance(exc, httpx2.HTTPError | TimeoutError)


def _tell_retry(attempt: RetryCallState) -> None:
    cause = attempt.outcome.exception() if attempt.outcome else None
    logger.warning("Payments failed, asking once more", extra={"error_type": type(cause).__name__})
