"""A language model as the judge of pairs (paper B.2.2)."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from misodice.data.episodes import Episodes
from misodice.data.preferences import PreferencesFile
from misodice.errors import MisodiceError
from misodice.labelling.base import Labeller
from misodice.labelling.describe.base import Describer
from misodice.labelling.describe.units import UnitDescriber
from misodice.labelling.llm.batch import BatchRun
from misodice.labelling.llm.cost import Estimate, estimate, price_of
from misodice.labelling.llm.ledger import Ledger
from misodice.labelling.llm.live import LiveRun, find_structured
from misodice.labelling.llm.question import ORDERS, Prompts, Request, body, custom_id, request_key, template_text
from misodice.labelling.llm.server import Server
from misodice.runs.parts import class_path

DEFAULT_PARAMETERS: dict[str, Any] = {"temperature": 0, "max_tokens": 200}


class LLMLabeller(Labeller):
    """A language model behind an OpenAI-compatible server; the key comes from OPENAI_API_KEY alone.

    Every pair is asked in both orders. What both say alike counts; the rest, and what stays without an answer, is a tie
    with its reason. Every reply is on the disk the moment it arrives, so a run that was stopped goes on and pays for
    nothing twice.

    Args:
        model: name of the model.
        base_url: of the server; null is OpenAI's own, or $OPENAI_BASE_URL.
        reason: ask for a short reason too.
        batch: use the Batch API: half the price, up to 24 hours.
        budget: USD that may be spent on one preferences.jsonl, all runs together; null is no limit.
        price: USD for a million input and output tokens; null takes the built-in table's.
        describer: puts an episode into words: UnitDescriber, or the class path of your own.
        template: path of a Jinja template for the prompt; null is the built-in one, which speaks of StarCraft.
        prompt_tokens: about how long a prompt may be.
        parameters: sent with every request; null is temperature 0 and max_tokens 200.
        concurrency: requests under way at once.
        tries: how often a request is sent before it counts as failed.
        timeout: seconds for one answer.
        backoff: seconds before the second try, doubled for each further one.
        poll: seconds between two looks at a batch.
    """

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
    ) -> None:
        if min(concurrency, tries) < 1 or min(timeout, backoff, poll) <= 0:
            raise MisodiceError(
                f"LLMLabeller: concurrency {concurrency}, tries {tries}, timeout {timeout}, backoff {backoff}, poll "
                f"{poll}: expected all greater than 0"
            )
        if base_url is not None and "@" in base_url:
            raise MisodiceError(
                "LLMLabeller: base_url holds a user name or password, which would be written into config.yaml; leave "
                "it out and set OPENAI_API_KEY in the environment"
            )
        self.model, self.base_url, self.reason, self.batch = model, base_url, reason, batch
        self.budget, self.prompt_tokens = budget, prompt_tokens
        self.describer, self.template = describer, template
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
            "base_url": self.base_url or os.environ.get("OPENAI_BASE_URL"),
            "parameters": self.parameters,
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
            MisodiceError: the episodes cannot be described, the key or a package is missing, the budget is reached, or
                the server refuses what no further request would survive. What was answered is kept.
        """
        console = Console(soft_wrap=True)
        with console.status("describing episodes"):
            requests = self._requests(episodes, file)
        console.print(f"{self.model}: {self._estimate(requests, file)}", highlight=False)
        server = Server(self.base_url, self.tries, self.timeout, self.backoff)
        with file:
            missing = set(file.missing)
            requests = [request for request in requests if request.pair in missing]
            ledger = Ledger(file, requests, self._price, self.budget, self.reason, self.tries, server.key)
            if ledger.open_requests or (self.batch and ledger.batches_under_way):
                asyncio.run(self._ask(server, ledger, console))
        if self._price is not None:
            console.print(f"{self.model}: {ledger.spent:.4f} USD spent on {file.path}", highlight=False)

    async def _ask(self, server: Server, ledger: Ledger, console: Console) -> None:
        if ledger.batches_under_way and not self.batch:
            raise MisodiceError(
                f"{ledger.file.path}: batch {ledger.batches_under_way[0]} is under way and would be paid for twice; "
                "set labeller.batch true to collect it (cancel it at the server first if it should not go on)"
            )
        async with server.client:
            structured = await find_structured(server, ledger, self._body)
            with _progress(ledger, console) as advance:
                if self.batch:
                    say = partial(console.print, highlight=False)
                    await BatchRun(server, ledger, self._body, structured, advance, say, self.poll).run()
                else:
                    await LiveRun(server, ledger, self._body, structured, advance).run(self.concurrency)

    def _estimate(self, requests: list[Request], file: PreferencesFile) -> Estimate:
        replies = (line for line in file.lines if line["kind"] == "reply" and line["final"])
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
            progress.update(task, completed=ledger.n_settled, cost=cost)

        advance()
        yield advance
