"""The client of the payments service: a time-out, one retry, and the trace id in every call."""

import asyncio
import logging
from http import HTTPStatus

import httpx2
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random

from app.errors import ServiceError, UnavailableError
from app.observability import inject, timer

logger = logging.getLogger(__name__)
# Its log lines contain whole URLs.
logging.getLogger("httpx2").setLevel(logging.WARNING)

_NO_ANSWER = "Payments does not answer."


class PaymentDeclinedError(ServiceError):
    """The payment was declined."""

    status = HTTPStatus.PAYMENT_REQUIRED


class ObservedTransport(httpx2.AsyncBaseTransport):
    """Add the trace id to each request and measure its time. Event hooks are not called for requests that fail."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        """Wrap `transport`."""
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request."""
        request.headers.update(inject())
        with timer("upstream"):
            return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


class PaymentsClient:
    """Charges orders."""

    def __init__(self, base_url: str, timeout: float) -> None:
        """Call payments at `base_url`; `timeout` is in seconds, for each attempt."""
        transport = ObservedTransport(httpx2.AsyncHTTPTransport())
        self._http = httpx2.AsyncClient(base_url=base_url, timeout=timeout, transport=transport)
        self._timeout = timeout

    async def charge(self, order_id: int, amount_cents: int) -> None:
        """Charge an order; payments charges it once, also after a retry.

        Raises `PaymentDeclinedError` and `UnavailableError`.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception(_is_temporary),
            stop=stop_after_attempt(2),
            wait=wait_random(0.05, 0.2),
            before_sleep=_log_retry,
            reraise=True,
        )
        try:
            response: httpx2.Response = await retrying(self._post, order_id, amount_cents)
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

    async def _post(self, order_id: int, amount_cents: int) -> httpx2.Response:
        charge = {"order_id": order_id, "amount_cents": amount_cents}
        # The time-out of httpx is for each read: a slow server could send one byte at a time forever.
        async with asyncio.timeout(self._timeout):
            response = await self._http.post("/charges", json=charge)
        if response.status_code != HTTPStatus.PAYMENT_REQUIRED:
            response.raise_for_status()
        return response


def _is_temporary(exc: BaseException) -> bool:
    if isinstance(exc, httpx2.HTTPStatusError):
        return exc.response.is_server_error
    return isinstance(exc, httpx2.HTTPError | TimeoutError)


def _log_retry(attempt: RetryCallState) -> None:
    cause = attempt.outcome.exception() if attempt.outcome else None
    logger.warning("Payments call failed, retrying", extra={"error_type": type(cause).__name__})
