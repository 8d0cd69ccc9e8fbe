"""Asking request by request: what the server takes, then many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from misodice.errors import MisodiceError
from misodice.labelling.llm.ledger import Ledger
from misodice.labelling.llm.question import STRUCTURED, Reply, Request
from misodice.labelling.llm.server import FailedError, Server, passing

PROBE_TRIES = 3

Body = Callable[[Request, str], dict[str, Any]]
"""The JSON of a request, with one of `STRUCTURED`."""


async def find_structured(server: Server, ledger: Ledger, body: Body) -> str:
    """Which of `STRUCTURED` the server takes: found once for a file, with a question that is to be asked anyway.

    Raises:
        MisodiceError: the server cannot be asked at all.
    """
    known = ledger.state("structured")
    if known:
        return str(known[0]["takes"])
    request = ledger.open_requests[0]
    # 500 is how some servers refuse a format they do not know.
    for structured in STRUCTURED[:-1]:
        if await _takes(server, ledger, request, body, structured, lambda status: status != 500 and passing(status)):
            break
    else:
        structured = STRUCTURED[-1]
    ledger.note("structured", takes=structured)
    return structured


async def _takes(
    server: Server, ledger: Ledger, request: Request, body: Body, structured: str, again: Callable[[int], bool]
) -> bool:
    for _ in range(PROBE_TRIES):
        if not ledger.reserve(request):
            raise budget_reached(ledger)
        try:
            reply = await server.chat(body(request, structured), again)
        except FailedError as error:
            if error.status == 500:
                await asyncio.sleep(server.backoff)
                continue
            if error.status in (400, 415, 422, 501):
                return False
            raise MisodiceError(
                f"LLMLabeller: {server.client.base_url} gave no answer in {server.tries} tries ({error.problem}); "
                "check labeller.base_url and that the server runs. What was answered is kept"
            ) from None
        ledger.record(request, reply, structured)
        if reply.final or ledger.settled(request):
            return True
    return False


class LiveRun:
    """Asks all open requests, `concurrency` at once.

    When the budget is reached, or at what no request would survive, no new request begins; those under way end and
    are kept, since they are paid for.
    """

    def __init__(
        self, server: Server, ledger: Ledger, body: Body, structured: str, advance: Callable[[], None]
    ) -> None:
        self.server, self.ledger, self.body, self.structured = server, ledger, body, structured
        self.advance = advance
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
                while self._stopped is None and not self.ledger.settled(request):
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
            reply = Reply(problem=error.problem, final=True)
            self.ledger.record(request, reply, self.structured)
            self.server.count_failure(error.problem)
        else:
            self.ledger.record(request, reply, self.structured)


def budget_reached(ledger: Ledger) -> MisodiceError:
    """The clean stop at the budget."""
    open_pairs = len(ledger.file.missing)
    return MisodiceError(
        f"LLMLabeller: the budget of {ledger.budget} USD is reached: {ledger.spent:.4f} USD spent, {open_pairs} of "
        f"{len(ledger.file.pairs)} pairs not answered. The answers are kept in {ledger.file.path}: raise "
        "labeller.budget and the same command goes on"
    )
