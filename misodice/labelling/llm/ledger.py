"""Which questions are open, what has been paid, and the pair's answer from its two orders."""

from __future__ import annotations

from typing import Any

from misodice.data.preferences import OPPOSITE, Answer, Line, PreferencesFile
from misodice.labelling.describe.base import tokens
from misodice.labelling.llm.cost import Price, estimate
from misodice.labelling.llm.question import ORDERS, Reply, Request, custom_id


class Ledger:
    """Everything a language model said, in preferences.jsonl the moment it arrives.

    Args:
        file: open for writing.
        requests: both orders of every pair without an answer.
        price: of a token; None where unknown.
        budget: USD that may be spent on this file in all its runs; None is no limit.
        reason: whether answers carry a reason (for the estimate).
        tries: replies without an answer that end a request.
        secret: the key, which never reaches the file even where a server repeats it.
    """

    def __init__(
        self,
        file: PreferencesFile,
        requests: list[Request],
        price: Price | None,
        budget: float | None,
        reason: bool,
        tries: int,
        secret: str | None,
    ) -> None:
        self.file, self.price, self.budget, self.reason, self.tries = file, price, budget, reason, tries
        self._secret = secret
        self._requests = {(request.pair, request.order): request for request in requests}
        self._names = {request.custom_id for request in requests}
        self._replies: dict[str, list[Line]] = {}
        self._settled: set[str] = set()
        self._reserved: dict[str, float] = {}
        self._set_aside = 0.0
        self.spent = 0.0
        for line in file.lines:
            if line["kind"] == "reply":
                self._take(line)
        # A run that was killed between a pair's second reply and its answer left only the answer to write.
        for pair in sorted({request.pair for request in requests}):
            self._conclude(pair)

    @property
    def open_requests(self) -> list[Request]:
        """Requests that still need a reply, the two orders of a pair beside each other."""
        return [request for request in self._requests.values() if not self.settled(request)]

    @property
    def n_requests(self) -> int:
        """Both orders of every pair that had no answer when the run began."""
        return len(self._requests)

    @property
    def n_settled(self) -> int:
        """How many of the requests have their last reply."""
        return len(self._settled & self._names)

    def named(self, custom_ids: set[str]) -> list[Request]:
        """The requests of these names."""
        return [request for request in self._requests.values() if request.custom_id in custom_ids]

    def replied(self, request: Request, batch: str) -> bool:
        """Whether a batch's reply to a request is taken in."""
        return any(line.get("batch") == batch for line in self._replies.get(request.custom_id, []))

    def settled(self, request: Request) -> bool:
        return request.custom_id in self._settled

    def tried(self, request: Request) -> int:
        return len(self._replies.get(request.custom_id, []))

    def reserve(self, request: Request) -> bool:
        """Set a request's likely cost aside; False where the budget does not allow it."""
        if self.budget is None:
            return True
        cost = estimate([request], self.price, self.reason).cost or 0.0
        self._release(request)
        if self.spent + self._set_aside + cost > self.budget:
            return False
        self._set_aside += cost
        self._reserved[request.custom_id] = cost
        return True

    def _release(self, request: Request) -> None:
        self._set_aside -= self._reserved.pop(request.custom_id, 0.0)

    def record(self, request: Request, reply: Reply, structured: str, batch: str | None = None) -> None:
        """Append a reply, and the pair's answer where it was the last one missing."""
        self._release(request)
        final = reply.final or self.tried(request) + 1 >= self.tries
        line = {
            "kind": "reply",
            "pair": request.pair,
            "order": request.order,
            "request": request.key,
            "structured": structured,
            "batch": batch,
            "model": reply.model,
            "answer": reply.answer,
            "reason": self._without_secret(reply.reason),
            "problem": self._without_secret(reply.problem),
            "final": final,
            "usage": reply.usage,
            "cost": self._cost(request, reply),
            "raw": self._without_secret(reply.raw),
        }
        self.file.append(line)
        self._take(line)
        self._conclude(request.pair)

    def state(self, kind: str) -> list[Line]:
        """Lines of another kind: what was found out about the server, batches under way."""
        return [line for line in self.file.lines if line["kind"] == kind]

    @property
    def batches_under_way(self) -> list[str]:
        """Batches that were begun and are not merged, oldest first."""
        states = {line["id"]: line["status"] for line in self.state("batch")}
        return [batch for batch, status in states.items() if status == "begun"]

    def note(self, kind: str, **content: Any) -> None:
        self.file.append({"kind": kind, **content})

    def _take(self, line: Line) -> None:
        name = custom_id(line["pair"], line["order"], line["request"])
        self._replies.setdefault(name, []).append(line)
        if line["final"]:
            self._settled.add(name)
        self.spent += line["cost"] or 0.0

    def _conclude(self, pair: int) -> None:
        replies = []
        for order in ORDERS:
            request = self._requests[pair, order]
            final = [line for line in self._replies.get(request.custom_id, []) if line["final"]]
            if not final:
                return
            replies.append(final[0])
        answer, tie_reason = _agreed(replies[0], replies[1])
        self.file.append(self.file.preference(pair, answer, tie_reason))

    def _cost(self, request: Request, reply: Reply) -> float | None:
        if reply.usage is None:
            return 0.0
        if self.price is None:
            return None
        # A server that tells no usage is paid by what was sent and received.
        sent = reply.usage.get("prompt_tokens", tokens(request.prompt))
        return self.price.cost(sent, reply.usage.get("completion_tokens", tokens(reply.raw or "")))

    def _without_secret(self, text: str | None) -> str | None:
        return text.replace(self._secret, "***") if text and self._secret else text


def _agreed(forward: Line, swapped: Line) -> tuple[Answer, str | None]:
    """The pair's answer where both orders say the same of it; else a tie and why."""
    for line in (forward, swapped):
        if line["answer"] is None:
            return "tie", line["problem"]
    said: Answer = forward["answer"]
    return (said, None) if said == OPPOSITE[swapped["answer"]] else ("tie", "inconsistent")
