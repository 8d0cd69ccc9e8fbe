"""The Batch API: half the price, answers within 24 hours, in any order."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

from misodice.errors import MisodiceError
from misodice.labelling.llm.completion import Reply, read_completion
from misodice.labelling.llm.failures import FailedError, failure_of, one_line, said_in
from misodice.labelling.llm.ledger import Ledger
from misodice.labelling.llm.live import Body, budget_reached
from misodice.labelling.llm.question import Request
from misodice.labelling.llm.server import KEPT, SENT_ANYWAY, Server
from misodice.labelling.llm.streak import MAX_FAILED_IN_ROW

MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
ENDED = ("completed", "expired", "cancelled", "failed")
TOKEN = "misodice"
"""Name of the batch's metadata entry that tells one of ours from others."""


class BatchRun:
    """Sends the open requests as batches, one after another, until each has a reply.

    A `batch` line in preferences.jsonl names every batch that was begun, a second one says that it is merged; so a
    run that was stopped waits for the batch it had begun and sends nothing again.
    """

    def __init__(
        self,
        server: Server,
        ledger: Ledger,
        body: Body,
        structured: str,
        advance: Callable[[], None],
        say: Callable[[str], None],
        poll: float,
    ) -> None:
        self.server, self.ledger, self.body, self.structured = server, ledger, body, structured
        self.advance, self.say, self.poll = advance, say, poll
        # Of the batch that is being merged.
        self._answered = 0
        self._last: Reply | None = None
        self._stop: str | None = None

    async def run(self) -> None:
        """Raises MisodiceError at the budget, or where the server fails or cancels a batch."""
        for begun in self.ledger.batches_under_way:
            await self._finish(begun)
        while self.ledger.open_requests:
            await self._finish(await self._begin())

    async def _begin(self) -> str:
        chunk = self._chunk()
        token = self._token(chunk)
        batch = await self._lost(token) or await self._create(chunk, token)
        self.ledger.note("batch", id=batch, status="begun", requests=[request.custom_id for request in chunk])
        self.say(f"batch {batch}: {len(chunk)} requests sent; this may be stopped, the same command goes on")
        return batch

    def _chunk(self) -> list[Request]:
        chunk: list[Request] = []
        size = 0
        for request in self.ledger.open_requests:
            size += len(self._line(request))
            if len(chunk) == MAX_REQUESTS or size > MAX_BYTES or not self.ledger.reserve(request):
                break
            chunk.append(request)
        if not chunk:
            raise budget_reached(self.ledger)
        return chunk

    def _line(self, request: Request) -> bytes:
        content = {"custom_id": request.custom_id, "method": "POST", "url": "/v1/chat/completions"}
        return json.dumps(content | {"body": self.body(request, self.structured)}).encode() + b"\n"

    def _token(self, chunk: list[Request]) -> str:
        """The same for the same requests at the same try, and only then."""
        tries = [(request.custom_id, self.ledger.tried(request)) for request in chunk]
        return hashlib.sha256(json.dumps([self.ledger.file.fingerprint, tries]).encode()).hexdigest()[:32]

    async def _lost(self, token: str) -> str | None:
        """A batch that an earlier run began but was killed before it could note."""
        page = await self._call(lambda: self.server.client.batches.list(limit=100), "data")
        known = {line["id"] for line in self.ledger.state("batch")}
        ours = (batch for batch in page.data or [] if (batch.metadata or {}).get(TOKEN) == token)
        return next((batch.id for batch in ours if batch.id not in known), None)

    async def _create(self, chunk: list[Request], token: str) -> str:
        client = self.server.client
        content = b"".join(self._line(request) for request in chunk)
        file = await self._call(lambda: client.files.create(file=("misodice.jsonl", content), purpose="batch"), "id")
        batch = await self._call(
            lambda: client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={TOKEN: token},
            ),
            "id",
        )
        return str(batch.id)

    async def _finish(self, batch_id: str) -> None:
        batch = await self._wait(batch_id)
        files = [file for file in (batch.output_file_id, batch.error_file_id) if file]
        sent, self._answered, self._stop = len(self._sent(batch_id)), 0, None
        for file in files:
            await self._merge(batch_id, file)
        for request in self._sent(batch_id):
            self._last = Reply(problem=f"batch {batch.status} without it", failure="transport")
            self._record(request, self._last, batch_id)
        self.ledger.note("batch", id=batch_id, status=batch.status)
        if self._stop is not None:
            raise MisodiceError(f"LLMLabeller: batch {batch_id}: {self._stop}. {KEPT}")
        if batch.status == "completed" and not files and sent:
            raise MisodiceError(
                f"LLMLabeller: batch {batch_id} is completed, but names no file of results: look at it at the server. "
                "What was answered before is kept: the same command sends its requests again"
            )
        if batch.status in ("failed", "cancelled"):
            errors = (batch.errors.data or []) if batch.errors else []
            said = one_line("; ".join(str(error.message) for error in errors)) or "no reason given"
            said = self.server.clean(said)
            raise MisodiceError(
                f"LLMLabeller: the server {batch.status} batch {batch_id}: {said}. What was answered is kept: the same "
                "command sends the rest again; --labels.labeller.batch false asks one by one"
            )
        if batch.status == "completed" and not self._answered and sent >= MAX_FAILED_IN_ROW:
            said = self._last.said if self._last else "nothing"
            raise MisodiceError(
                f"LLMLabeller: not one of the {sent} requests of batch {batch_id} has an answer, the last: {said}. "
                "What was answered before is kept: the same command sends in another batch what may pass"
            )

    async def _wait(self, batch_id: str) -> Any:
        status = None
        while True:
            batch = await self._call(lambda: self.server.client.batches.retrieve(batch_id), "status", batch_id)
            if batch.status != status:
                status = batch.status
                self.say(f"batch {batch_id}: {status}")
            if status in ENDED:
                return batch
            await asyncio.sleep(self.poll)

    async def _merge(self, batch_id: str, file: str) -> None:
        # The library has read the whole content by the time this returns.
        content = await self._call(lambda: self.server.client.files.content(file), "text", batch_id)
        sent = {request.custom_id: request for request in self._sent(batch_id)}
        results = list(_results(content.text))
        answered = self.server.answered or self._answered > 0 or any(_status(line) == 200 for line in results)
        for line in results:
            request = sent.pop(str(line.get("custom_id")), None)
            if request is not None:
                try:
                    self._last = _reply(line, self.body(request, self.structured).keys() - SENT_ANYWAY, answered)
                except FailedError as error:
                    error.said = self.server.clean(error.said)
                    self._last = Reply.of(error)
                    if error.kind not in ("transport", "request"):
                        self._stop = self._stop or str(error)
                self._record(request, self._last, batch_id)

    def _sent(self, batch_id: str) -> list[Request]:
        """Requests of a batch that have no reply from it yet."""
        lines = [line for line in self.ledger.state("batch") if line["id"] == batch_id]
        names = {name for line in lines for name in line.get("requests", [])}
        requests = [request for request in self.ledger.named(names) if not self.ledger.settled(request)]
        return [request for request in requests if not self.ledger.replied(request, batch_id)]

    def _record(self, request: Request, reply: Reply, batch_id: str) -> None:
        self._answered += reply.answer is not None
        self.ledger.record(request, reply, self.structured, batch_id, self.ledger.tries)
        self.advance()

    async def _call(self, make: Callable[[], Any], has: str, batch_id: str | None = None) -> Any:
        """What the Batch API answers, with the attribute that it must have; `batch_id` is of one begun earlier."""
        url = self.server.url
        try:
            result = await self.server.call(make, timeout=None, stop_at_404=False)
            if not hasattr(result, has):
                raise FailedError("transport", "no answer of a Batch API", said_in(str(result), 200).words)
        except FailedError as error:
            said = str(error)
            if error.status != 404:
                raise MisodiceError(
                    f"LLMLabeller: {url}: the Batch API failed ({said}). {KEPT}; --labels.labeller.batch false asks "
                    "one by one"
                ) from None
            if batch_id is None:
                raise MisodiceError(
                    f"LLMLabeller: {url} has no Batch API ({said}); --labels.labeller.batch false asks one by one"
                ) from None
            raise MisodiceError(
                f"LLMLabeller: {url} does not know batch {batch_id} or its results any more ({said}). Check that it is "
                "the same account. To have its requests sent and paid again, delete the lines with this batch's id and "
                f'"kind": "batch" from {self.ledger.file.path}'
            ) from None
        return result


def _results(text: str) -> Iterator[dict[str, Any]]:
    for line in text.removeprefix("\ufeff").splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            yield value


def _response(line: dict[str, Any]) -> dict[str, Any]:
    response = line.get("response")
    return response if isinstance(response, dict) else {}


def _status(line: dict[str, Any]) -> Any:
    return _response(line).get("status_code")


def _reply(line: dict[str, Any], parameters: Collection[str], answered: bool) -> Reply:
    """What a line of results says; raises FailedError where it is an error. The others as in `kind_of`."""
    status, body = _status(line), _response(line).get("body")
    if status == 200:
        return read_completion(body)
    if isinstance(status, int):
        raise failure_of(said_in(body, status), parameters, answered=answered)
    said = said_in({"error": line.get("error")}, None)
    failure = failure_of(said)
    if failure.kind == "transport":
        failure.problem = said.code or "no response in a batch"
    raise failure
