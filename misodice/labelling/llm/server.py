"""An OpenAI-compatible server: waits its limits out, tries again what may pass, stops at what will not."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from misodice.errors import MisodiceError
from misodice.labelling.llm.question import Reply, read_completion

log = logging.getLogger(__name__)
T = TypeVar("T")
KEY_VARIABLE = "OPENAI_API_KEY"
MAX_DELAY = 60.0
MAX_FAILED_IN_ROW = 20
"""Requests given up one after another that mean the server is gone, not that the pairs are odd."""
PAID_OUT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")


class FailedError(Exception):
    """One request failed for good; the others may pass."""

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem)
        self.problem, self.status = problem, status


class Server:
    """One server and the rules of asking it.

    Args:
        base_url: of the server; None is OpenAI's own, or $OPENAI_BASE_URL.
        tries: how often a request that meets a passing failure is sent.
        timeout: seconds for a whole answer.
        backoff: seconds before the second try; doubled for each further one, with jitter. A Retry-After header rules
            over it, and holds up all requests.

    Raises:
        MisodiceError: the openai package or the key is missing.
    """

    def __init__(self, base_url: str | None, tries: int, timeout: float, backoff: float) -> None:
        self.tries, self.timeout, self.backoff = tries, timeout, backoff
        self.key = os.environ.get(KEY_VARIABLE)
        self._openai = _import_openai()
        if not self.key and base_url is None and "OPENAI_BASE_URL" not in os.environ:
            raise MisodiceError(
                f"LLMLabeller: the environment variable {KEY_VARIABLE} is not set; set it to your key, or give "
                "labeller.base_url of a server that needs none"
            )
        # Retries are ours: the client's own cannot be told a time scale, nor share a Retry-After among requests.
        self.client = self._openai.AsyncOpenAI(
            api_key=self.key or "no-key", base_url=base_url, timeout=timeout, max_retries=0
        )
        self._quiet_until = 0.0
        self._failed_in_row = 0

    async def chat(self, body: dict[str, Any], again: Callable[[int], bool] | None = None) -> Reply:
        """Ask for one chat completion and read it.

        Args:
            body: the request's JSON.
            again: which statuses are tried again; default `passing`.

        Raises:
            MisodiceError: what no further request would survive, such as a wrong key or an empty account.
            FailedError: this request alone failed for good.
        """
        model, messages = body["model"], body["messages"]
        rest = {name: value for name, value in body.items() if name not in ("model", "messages")}

        async def ask() -> str:
            raw = await self.client.chat.completions.with_raw_response.create(
                model=model, messages=messages, extra_body=rest
            )
            return str(raw.text)

        text = await self.call(ask, again, self.timeout)
        try:
            return read_completion(json.loads(text))
        except ValueError:
            return Reply(problem="no JSON", raw=text[:2000])

    async def call(
        self,
        make: Callable[[], Awaitable[T]],
        again: Callable[[int], bool] | None = None,
        timeout: float | None = None,
    ) -> T:
        """Await `make()` until it passes; raises as `chat` does."""
        problem = FailedError("not tried")
        for attempt in range(self.tries):
            await self._wait_turn()
            try:
                async with asyncio.timeout(timeout):
                    result = await make()
            except self._openai.APIStatusError as error:
                self._stop_at(error)
                problem = FailedError(_words(error), error.status_code)
                if not (again or passing)(error.status_code):
                    break
                delay = _retry_after(error)
                if delay is not None:
                    if delay > MAX_DELAY:
                        log.warning("%s asks to wait %.0f seconds; waiting", self.client.base_url, delay)
                    self._quiet_until = max(self._quiet_until, time.monotonic() + delay)
                    continue
            except (TimeoutError, self._openai.APITimeoutError):
                problem = FailedError("timeout")
            except self._openai.APIConnectionError:
                problem = FailedError("connection lost")
            else:
                self._failed_in_row = 0
                return result
            if attempt + 1 < self.tries:
                await asyncio.sleep(min(MAX_DELAY, self.backoff * 2**attempt) * random.uniform(0.5, 1.0))
        raise problem

    def count_failure(self, problem: str) -> None:
        """Note a request that was given up.

        Raises:
            MisodiceError: so many in a row that the server must be gone.
        """
        self._failed_in_row += 1
        if self._failed_in_row >= MAX_FAILED_IN_ROW:
            raise MisodiceError(
                f"LLMLabeller: {self._failed_in_row} requests in a row failed after {self.tries} tries each, the last "
                f"with: {problem}; check {self.client.base_url}. What was answered is kept: the same command goes on"
            )

    async def _wait_turn(self) -> None:
        while (left := self._quiet_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _stop_at(self, error: Any) -> None:
        """Raises MisodiceError where no request can pass. The server's own text may hold a part of the key."""
        what = {
            401: f"does not accept the key in {KEY_VARIABLE}: set a valid one",
            402: "wants payment: check the account's balance",
            403: "refuses access: check what the key in OPENAI_API_KEY may use",
            404: "does not know the model or the address: check labeller.model and labeller.base_url",
        }.get(error.status_code)
        if error.code in PAID_OUT or error.type in PAID_OUT:
            what = "says that the quota is used up: add credit to the account"
        if what is not None:
            raise MisodiceError(
                f"LLMLabeller: {self.client.base_url} {what} (HTTP {error.status_code}). What was answered is kept: "
                "the same command goes on"
            ) from None


def passing(status: int) -> bool:
    """Whether a status says that the same request may pass later."""
    return status in (408, 409, 425, 429) or status >= 500


def _words(error: Any) -> str:
    said = error.body.get("message") if isinstance(error.body, dict) else None
    return f"HTTP {error.status_code}" + (f": {str(said)[:200]}" if said and not passing(error.status_code) else "")


def _retry_after(error: Any) -> float | None:
    """Seconds the server asks to wait (RFC 9110, 10.2.3: a number or a date); None where it says nothing."""
    text = error.response.headers.get("retry-after")
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def _import_openai() -> Any:
    try:
        import openai
    except ImportError as error:
        raise MisodiceError("LLMLabeller needs the openai package: pip install 'misodice[llm]'") from error
    return openai
