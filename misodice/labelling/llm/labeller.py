"""A language model as the judge of pairs (paper B.2.2)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from misodice.data.episodes import Episodes
from misodice.data.preferences import Line, PreferencesFile
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.labelling.describe.base import Describer
from misodice.labelling.describe.units import UnitDescriber
from misodice.labelling.llm.address import Address, identity_of
from misodice.labelling.llm.batch import BatchRun
from misodice.labelling.llm.cost import PRICE, Estimate, estimate, price_of
from misodice.labelling.llm.failures import one_line, quoted
from misodice.labelling.llm.ledger import Ledger, is_cut_off, is_final
from misodice.labelling.llm.live import LiveRun, find_structured
from misodice.labelling.llm.parameters import check_parameters
from misodice.labelling.llm.question import (
    DEFAULT_PARAMETERS,
    ORDERS,
    Prompts,
    Request,
    body,
    custom_id,
    limit_of,
    request_key,
    template_text,
    without_limit,
)
from misodice.labelling.llm.server import KEPT, Server
from misodice.labelling.llm.streak import Streak, raise_limit
from misodice.runs.console import console
from misodice.runs.limits import COUNT, NOT_NEGATIVE, POSITIVE, limited, number, or_none, whole
from misodice.runs.parts import class_path


class LLMLabeller(Labeller):
    """A language model behind an OpenAI-compatible server; the key comes from OPENAI_API_KEY alone.

    Every pair is asked in both orders. What both say alike counts; the rest, and what the model gives no usable answer
    to, is a tie with its reason. What failed otherwise has no answer, and is asked again by the next run. Every reply
    is on the disk the moment it arrives, so a run that was stopped goes on and pays for nothing twice.

    Args:
        model: name of the model.
        base_url: of the server, such as http://localhost:8000/v1; null is $OPENAI_BASE_URL, or OpenAI's own.
        query: what is added to the address of every request, such as {api-version: 2024-10-21} for Azure.
        reason: ask for a short reason too.
        batch: use the Batch API: half the price, up to 24 hours.
        budget: USD that may be spent on one preferences.jsonl, all runs together; null is no limit.
        price: USD for a million input and output tokens; null takes the built-in table's.
        describer: puts an episode into words: UnitDescriber, or the class path of your own.
        template: path of a Jinja template for the prompt; null is the built-in one, which speaks of StarCraft.
        prompt_tokens: about how long a prompt may be.
        parameters: sent with every request; null is temperature 0 and max_tokens 200. A longer limit asks only those
            again whose answers were cut off; any other change asks all anew.
        concurrency: requests under way at once, from 1 to 1000.
        tries: how often a request is sent before it counts as failed, from 1 to 1000.
        timeout: seconds for one answer, at most a day.
        backoff: seconds before the second try, doubled for each further one.
        poll: seconds between two looks at a batch.
        skip_failed: go on without the pairs whose requests failed in transport; else the run stops when all others are
            asked.
    """

    @limited(
        "labels.labeller",
        budget=or_none(NOT_NEGATIVE),
        price=or_none(PRICE),
        prompt_tokens=COUNT,
        concurrency=whole(1, 1000),
        tries=whole(1, 1000),
        timeout=number("seconds, greater than 0 and at most 86400", 0.0, 86400.0, without=[0.0]),
        backoff=POSITIVE,
        poll=POSITIVE,
    )
    def __init__(
        self,
        model: str = "gpt-4o",
        base_url: str | None = None,
        reason: bool = False,
        batch: bool = False,
        budget: float | None = None,
        price: tuple[float, float] | None = None,
        describer: Describer = UnitDescriber(),  # noqa: B008 - it holds no state; an object here is a default in --help
        template: str | None = None,
        prompt_tokens: int = 4000,
        parameters: dict[str, Any] | None = None,
        concurrency: int = 16,
        tries: int = 8,
        timeout: float = 60.0,
        backoff: float = 1.0,
        poll: float = 60.0,
        query: dict[str, str] | None = None,
        skip_failed: bool = False,
    ) -> None:
        if base_url is not None or query:
            Address.of(base_url, query)
        if parameters is not None:
            check_parameters(parameters)
        self.model, self.base_url, self.reason, self.batch = model, base_url, reason, batch
        self.budget, self.prompt_tokens = budget, prompt_tokens
        self.describer, self.template = describer, template
        self.query, self.skip_failed = query, skip_failed
        self.parameters = DEFAULT_PARAMETERS if parameters is None else parameters
        self.concurrency, self.tries, self.timeout, self.backoff, self.poll = concurrency, tries, timeout, backoff, poll
        self._price = price_of(model, price, batch)
        if budget is not None and self._price is None:
            raise MisodiceError(
                f"LLMLabeller: budget is {budget}, but the price of model {model!r} is unknown; give labeller.price, "
                "two numbers: USD for a million input and output tokens"
            )

    def identity(self) -> dict[str, Any]:
        """Model, server and wording; not how fast, how dear or by which way it is asked."""
        template = hashlib.sha256(template_text(self.template).encode()).hexdigest()
        return {
            # The source of a subclass counts. Ours does not: answers that were paid for outlive a new version.
            "class": class_path(type(self)) if type(self) is LLMLabeller else type(self),
            "model": self.model,
            "base_url": identity_of(self.base_url),
            "parameters": without_limit(self.parameters),
            "reason": self.reason,
            "template": template,
            "describer": self.describer.identity(),
            "prompt_tokens": self.prompt_tokens,
        }

    def check(self, episodes: Episodes) -> None:
        self._prompts(episodes)

    def view(self, episodes: Episodes, first: int, second: int) -> str:
        return self._prompts(episodes)(first, second)

    def estimate(self, episodes: Episodes, file: PreferencesFile) -> Estimate:
        """Of what is still to be asked for `file`; nothing is sent or written."""
        return self._estimate(self._requests(episodes, file), file)

    def label(self, episodes: Episodes, file: PreferencesFile) -> None:
        """Ask what is not answered yet.

        Raises:
            MisodiceError: the episodes cannot be described, the key or a package is missing, the budget is reached,
                the server refuses what no further request would survive, or requests failed that may pass later. What
                was answered is kept.
        """
        screen = console()
        with screen.status("describing episodes"):
            requests = self._requests(episodes, file)
        screen.print(f"{self.model}: {self._estimate(requests, file)}")
        say = screen.print
        address = Address.of(self.base_url, self.query)
        server = Server(address, self.tries, self.timeout, self.backoff, say)
        limit = limit_of(self.parameters)
        with file:
            missing = set(file.missing)
            requests = [request for request in requests if request.pair in missing]
            ledger = Ledger(file, requests, self._price, self.budget, self.reason, self.tries, server.key, limit)
            if ledger.open_requests or (self.batch and ledger.batches_under_way):
                asyncio.run(self._ask(server, ledger, screen))
            if self._price is not None:
                say(f"{self.model}: {ledger.spent:.4f} USD spent on {file.path}")
            self._finish(ledger, say)

    def _finish(self, ledger: Ledger, say: Callable[[str], None]) -> None:
        """Leave out what failed, or stop where it may pass later."""
        failed = ledger.failed
        if not failed:
            return
        passing = [line for line in failed.values() if line["failure"] == "transport"]
        if passing and not self.skip_failed:
            raise MisodiceError(
                f"LLMLabeller: {len(passing)} of {len(ledger.file.pairs)} pairs have no answer, since requests failed "
                f"({_counted(passing)}). {KEPT} and asks these again; --labels.labeller.skip_failed true goes on "
                "without them"
            )
        ledger.leave_out()
        say(f"{self.model}: {len(failed)} pairs are left out without an answer ({_counted(list(failed.values()))})")
        if any(line["failure"] == "cut off" for line in failed.values()):
            say(f"{self.model}: answers were cut off{raise_limit(self.parameters)}")

    async def _ask(self, server: Server, ledger: Ledger, console: Console) -> None:
        if ledger.batches_under_way and not self.batch:
            raise MisodiceError(
                f"{ledger.file.path}: batch {ledger.batches_under_way[0]} is under way and would be paid for twice; "
                "set labeller.batch true to collect it (cancel it at the server first if it should not go on)"
            )
        server.answered = ledger.answered
        async with server.client:
            streak = Streak(server.url, self.tries, self.parameters, ledger.paid_in_vain)
            structured = await find_structured(server, ledger, self._body, streak)
            with _progress(ledger, console) as advance:
                if self.batch:
                    await BatchRun(server, ledger, self._body, structured, advance, server.say, self.poll).run()
                else:
                    await LiveRun(server, ledger, self._body, structured, advance, streak).run(self.concurrency)

    def _estimate(self, requests: list[Request], file: PreferencesFile) -> Estimate:
        limit = limit_of(self.parameters)
        replies = (
            line for line in file.lines if line["kind"] == "reply" and (is_final(line) or is_cut_off(line, limit))
        )
        settled = {custom_id(line["pair"], line["order"], line["request"]) for line in replies}
        left = [request for request in requests if request.custom_id not in settled]
        return estimate(left, self._price, self.reason)

    def _body(self, request: Request, structured: str) -> dict[str, Any]:
        return body(request.prompt, self.model, self.parameters, structured, self.reason)

    def _prompts(self, episodes: Episodes) -> Prompts:
        return Prompts(episodes, self.template, self.reason, self.describer, self.prompt_tokens)

    def _requests(self, episodes: Episodes, file: PreferencesFile) -> list[Request]:
        prompts = self._prompts(episodes)
        requests = []
        for pair in file.missing:
            first, second = file.pairs[pair].tolist()
            for order in ORDERS:
                prompt = prompts(first, second) if order == "forward" else prompts(second, first)
                key = request_key(self.model, self.parameters, self.reason, prompt, order)
                requests.append(Request(pair, order, prompt, key))
        return requests


@contextmanager
def _progress(ledger: Ledger, console: Console) -> Iterator[Callable[[], None]]:
    """A bar of settled requests with the cost so far; call what it yields to bring it up to date."""
    columns = (TextColumn("labelling"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[cost]}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("labelling", total=ledger.n_requests, cost="")

        def advance() -> None:
            cost = "" if ledger.price is None else f"{ledger.spent:.2f} USD"
            progress.update(task, completed=ledger.n_done, cost=cost)

        advance()
        yield advance


def _counted(lines: list[Line]) -> str:
    """How often each problem is met, with the words of its last."""
    count = Counter(line["problem"] for line in lines)
    words = {line["problem"]: line["raw"] for line in lines if line["failure"] != "cut off"}
    return ", ".join(f"{number} × {quoted(one_line(why), words.get(why))}" for why, number in count.most_common())
