"""An OpenAI-compatible server: waits its limits out, tries again what may pass, stops at what will not."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from misodice.errors import MisodiceError
from misodice.labelling.llm.address import OPENAI_URL, Address
from misodice.labelling.llm.client import (
    KEY_VARIABLE,
    connection_failure,
    import_openai,
    make_client,
    redirect_failure,
)
from misodice.labelling.llm.completion import NO_JSON, Reply, payload_of, read_completion
from misodice.labelling.llm.failures import (
    PAID_OUT,
    FailedError,
    failure_of,
    retry_after,
    said_in,
    without_key,
    without_masked,
)

T = TypeVar("T")
MAX_DELAY = 60.0
"""The longest backoff, in seconds."""
MAX_WAIT = 600.0
"""The longest Retry-After that is waited for, in seconds."""
SAY_AGAIN = 30.0
"""Seconds before a retry of the same sort is told again."""
SENT_ANYWAY = {"model", "messages", "response_format"}
"""What a request has besides the user's parameters."""
KEPT = "What was answered is kept: the same command goes on"


class Server:
    """One server and the rules of asking it.

    Args:
        address: of the server.
        tries: how often a request that meets a passing failure is sent.
        timeout: seconds for a whole answer.
        backoff: seconds before the second try; doubled for each further one, with jitter. A Retry-After header rules
            over it, and holds up all requests.
        say: gets one line where something is tried again.

    Attributes:
        answered: whether the server gave an answer before. If it did, a 403 may be of one request.

    Raises:
        MisodiceError: the openai package or the key is missing, or what is set in the environment cannot be used.
    """

    def __init__(
        self, address: Address, tries: int, timeout: float, backoff: float, say: Callable[[str], None]
    ) -> None:
        self.address, self.tries, self.timeout, self.backoff, self.say = address, tries, timeout, backoff, say
        self.key = os.environ.get(KEY_VARIABLE)
        self._openai = import_openai()
        if not self.key and address.url.rstrip("/") == OPENAI_URL:
            raise MisodiceError(
                f"LLMLabeller: the environment variable {KEY_VARIABLE} is not set; set it to your key, or give "
                "labeller.base_url of a server that needs none"
            )
        # Retries are ours: the client's own cannot be told a time scale, nor share a Retry-After among requests.
        self.client = make_client(address, self.key, timeout)
        self.answered = False
        self._quiet_until = 0.0
        self._reached = False
        self._told: dict[str, float] = {}

    @property
    def url(self) -> str:
        """The server's address, for messages."""
        return self.address.url

    async def chat(self, body: dict[str, Any], tries: int | None = None) -> Reply:
        """Ask for one chat completion and read it.

        Args:
            body: the request's JSON.
            tries: how often it is sent at most; None is the server's own number.

        Raises:
            MisodiceError: what no further request would survive, such as a wrong key or an empty account.
            FailedError: this request failed; what it says tells whether others may pass.
        """
        model, messages = body["model"], body["messages"]
        rest = {name: value for name, value in body.items() if name not in ("model", "messages")}

        async def ask() -> Reply:
            raw = await self.client.chat.completions.with_raw_response.create(
                model=model, messages=messages, extra_body=rest
            )
            redirected = redirect_failure(raw.http_response, self.address)
            if redirected is not None:
                raise redirected
            reply = read_completion(payload_of(str(raw.text)))
            self.answered = self.answered or reply.answer is not None
            return reply

        return await self.call(ask, self.timeout, tries, body.keys() - SENT_ANYWAY)

    async def call(
        self,
        make: Callable[[], Awaitable[T]],
        timeout: float | None = None,
        tries: int | None = None,
        parameters: Collection[str] = (),
        stop_at_404: bool = True,
    ) -> T:
        """Await `make()` until it passes; raises as `chat` does.

        Args:
            make: sends the request.
            timeout: seconds for a whole answer.
            tries: how often it is sent at most; None is the server's own number.
            parameters: names of what is sent with every request.
            stop_at_404: whether a 404 means the server's address; else it is this request's failure.
        """
        tries = tries or self.tries
        for attempt in range(1, tries + 1):
            await self._wait_turn()
            try:
                async with asyncio.timeout(timeout):
                    result = await make()
            except self._openai.APIStatusError as error:
                self._reached = True
                said = said_in(error.response.text, error.status_code)
                wait = retry_after(error.response.headers)
                failure = failure_of(said, parameters, wait, self.answered)
                redirected = redirect_failure(error.response, self.address)
                if redirected is not None:
                    self._stop_at(redirected)
                address = str(error.request.url).partition("?")[0]
                if stop_at_404 or error.status_code != 404:
                    self._stop_at(failure, f"{error.request.method} {address}")
            except (TimeoutError, self._openai.APIConnectionError, UnicodeError) as error:
                failure = self._connection_failure(error)
                self._stop_at(failure)
            except json.JSONDecodeError as error:
                self._reached = True
                failure = FailedError("transport", NO_JSON, said_in(error.doc, 200).words)
            except FailedError as error:
                self._reached = True
                failure = error
                self._stop_at(failure)
            else:
                self._reached = True
                return result
            failure.said = self.clean(failure.said)
            self._stop_at_long_wait(failure)
            if failure.kind != "transport" or attempt == tries:
                raise failure
            await self._pause(failure, attempt, tries)
        raise AssertionError("tries is at least 1")

    def clean(self, text: str) -> str:
        """An error's text without the key, which a server may repeat, whole or masked."""
        return without_masked(without_key(text, self.key))

    def _connection_failure(self, error: BaseException) -> FailedError:
        timeout = isinstance(error, self._openai.APITimeoutError) and error.__cause__ is not None
        if isinstance(error, TimeoutError) or (timeout and type(error.__cause__).__name__ != "ConnectTimeout"):
            return FailedError("transport", "timeout")
        return connection_failure(error, self.address, self._reached)

    async def _pause(self, failure: FailedError, attempt: int, tries: int) -> None:
        delay = min(MAX_DELAY, self.backoff * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)
        if failure.wait is not None:
            delay = failure.wait
            self._quiet_until = max(self._quiet_until, time.monotonic() + delay)
        now = time.monotonic()
        if now - self._told.get(failure.problem, -SAY_AGAIN) >= SAY_AGAIN:
            self._told[failure.problem] = now
            whose = ", as the server asks" if failure.wait is not None else ""
            self.say(f"{self.url}: {failure}; trying again in {_duration(delay)}{whose} (try {attempt + 1} of {tries})")
        await asyncio.sleep(delay)

    def _stop_at_long_wait(self, failure: FailedError) -> None:
        if failure.wait is not None and failure.wait > MAX_WAIT:
            raise MisodiceError(
                f"LLMLabeller: {self.url} asks to wait {_duration(failure.wait)} ({failure}), and at most "
                f"{_duration(MAX_WAIT)} are waited for. What was answered is kept: give the same command again after "
                "that time, and it goes on"
            )

    async def _wait_turn(self) -> None:
        while (left := self._quiet_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def _stop_at(self, failure: FailedError, asked: str = "") -> None:
        """Raises MisodiceError where no request can pass."""
        if failure.kind not in ("account", "parameter"):
            return
        said = self.clean(failure.said)
        quoted = f", HTTP {failure.status}" if failure.status else ""
        quoted = f" ({said!r}{quoted})" if said else f" ({quoted[2:]})" if quoted else ""
        if failure.kind == "parameter":
            raise MisodiceError(
                f"LLMLabeller: {self.url} does not take one of the parameters that are sent with every request"
                f"{quoted}: set labeller.parameters, which replaces them all, such as {{max_completion_tokens: 2000}} "
                "for reasoning models. What was answered is kept"
            )
        what = {
            401: f"does not accept the key in {KEY_VARIABLE}: set a valid one",
            402: "wants payment: check the account's balance",
            403: f"refuses access: check what the key in {KEY_VARIABLE} may use",
            405: f"takes no request at {asked}: check {self.address.origin}",
            407: "is behind a proxy that wants a password: set it in HTTP_PROXY or HTTPS_PROXY",
        }.get(failure.status or 0)
        if failure.code in PAID_OUT:
            what = "says that the quota is used up: add credit to the account"
        elif failure.status in (400, 404, 410, 422):
            what = f"does not know the model or the address {asked}: check labeller.model and {self.address.origin}"
            if ".azure." in f"{urlsplit(self.url).netloc}.":
                what += (
                    "; Azure's address ends in /openai/deployments/NAME with labeller.query {api-version: VERSION}, or "
                    "in /openai/v1 with the deployment's name as labeller.model"
                )
        if what is None:
            raise MisodiceError(f"LLMLabeller: {failure.problem}{quoted}. {KEPT}") from None
        raise MisodiceError(f"LLMLabeller: {self.url} {what}{quoted}. {KEPT}") from None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
