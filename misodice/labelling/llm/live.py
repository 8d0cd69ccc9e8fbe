"""Asking request by request: what the server takes, then many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from misodice.errors import MisodiceError
from misodice.labelling.llm.completion import Reply
from misodice.labelling.llm.failures import FailedError
from misodice.labelling.llm.ledger import Ledger
from misodice.labelling.llm.question import STRUCTURED, Request
from misodice.labelling.llm.server import KEPT, Server
from misodice.labelling.llm.streak import Streak

PROBE_TRIES = 3
"""Tries of a format where another one failed without saying that it was the format."""

Body = Callable[[Request, str], dict[str, Any]]
"""The JSON of a request, with one of `STRUCTURED`."""


async def find_structured(server: Server, ledger: Ledger, body: Body, streak: Streak) -> str:
    """Which of `STRUCTURED` the server takes: found once for a file, with questions that are to be asked anyway.

    Only what is said about the format leads to another one, or the fact that the same question passes with another one.

    Raises:
        MisodiceError: the server cannot be asked at all.
    """
    known = ledger.state("structured")
    if known:
        return str(known[0]["takes"])
    first = 0
    while ledger.open_requests:
        request = ledger.open_requests[0]
        doubt: FailedError | None = None
        for index in range(first, len(STRUCTURED)):
            structured = STRUCTURED[index]
            if not ledger.reserve(request):
                raise budget_reached(ledger)
            try:
                reply = await server.chat(body(request, structured), PROBE_TRIES if doubt else None)
            except FailedError as error:
                ledger.release(request)
                last = index + 1 == len(STRUCTURED)
                if error.kind == "format" and not last:
                    server.say(f"{server.url} does not take response_format {structured} ({error}): trying the next")
                    first, doubt = index + 1, None
                elif _may_be_format(error) and not last:
                    doubt = doubt or error
                else:
                    _refuse(server, ledger, streak, request, structured, doubt or error)
                    break
            else:
                if doubt:
                    server.say(f"{server.url} takes response_format {structured} where another one failed ({doubt})")
                ledger.note("structured", takes=structured)
                _record(ledger, streak, request, reply, structured)
                return structured
    return STRUCTURED[first]


def _may_be_format(error: FailedError) -> bool:
    """Some servers say nothing of what they do not like."""
    return error.status in (500, 501) or (error.status in (400, 415, 422) and not error.said)


def _refuse(
    server: Server, ledger: Ledger, streak: Streak, request: Request, structured: str, error: FailedError
) -> None:
    if error.kind != "request":
        raise MisodiceError(
            f"LLMLabeller: {server.url} gave no answer in {server.tries} tries ({error}); check "
            f"{server.address.origin} and that the server runs. {KEPT}"
        )
    _record(ledger, streak, request, Reply.of(error), structured)


class LiveRun:
    """Asks all open requests, `concurrency` at once.

    When the budget is reached, or at what no request would survive, no new request begins; those under way end and
    are kept, since they are paid for.
    """

    def __init__(
        self, server: Server, ledger: Ledger, body: Body, structured: str, advance: Callable[[], None], streak: Streak
    ) -> None:
        self.server, self.ledger, self.body, self.structured = server, ledger, body, structured
        self.advance, self.streak = advance, streak
        self._stopped: MisodiceError | None = None

    async def run(self, concurrency: int) -> None:
        """Raises MisodiceError where the run stopped early."""
        waiting = iter(self.ledger.open_requests)
        await asyncio.gather(*(self._work(waiting) for _ in range(concurrency)))
        if self._stopped is not None:
            raise self._stopped

    async def _work(self, waiting: Iterator[Request]) -> None:
        for request in waiting:
            try:
                while self._stopped is None and not self.ledger.done(request):
                    await self._ask(request)
            except MisodiceError as error:
                self._stopped = self._stopped or error
            if self._stopped is not None:
                return
            self.advance()

    async def _ask(self, request: Request) -> None:
        if not self.ledger.reserve(request):
            raise budget_reached(self.ledger)
        try:
            reply = await self.server.chat(self.body(request, self.structured))
        except FailedError as error:
            self.ledger.release(request)
            if error.kind == "format":
                raise MisodiceError(
                    f"LLMLabeller: {self.server.url} does not take response_format {self.structured} any more "
                    f"({error}); to have it found anew, delete the line of kind 'structured' from "
                    f"{self.ledger.file.path}"
                ) from None
            reply = Reply.of(error)
        except MisodiceError:
            self.ledger.release(request)
            raise
        _record(self.ledger, self.streak, request, reply, self.structured)


def _record(ledger: Ledger, streak: Streak, request: Request, reply: Reply, structured: str) -> None:
    ledger.record(request, reply, structured)
    if reply.answer is not None:
        streak.passed()
    elif ledger.ended(request):
        streak.failed(reply)


def budget_reached(ledger: Ledger) -> MisodiceError:
    """The clean stop at the budget."""
    open_pairs = len(ledger.file.missing)
    return MisodiceError(
        f"LLMLabeller: the budget of {ledger.budget} USD is reached: {ledger.spent:.4f} USD spent, {open_pairs} of "
        f"{len(ledger.file.pairs)} pairs not answered. The answers are kept in {ledger.file.path}: raise "
        "labeller.budget and the same command goes on"
    )
