"""Which questions are open, what has been paid, and the pair's answer from its two orders."""

from __future__ import annotations

from collections import Counter
from typing import Any

from misodice.data.preferences import OPPOSITE, Answer, Line, PreferencesFile
from misodice.labelling.describe.base import tokens
from misodice.labelling.left_out import left_out, left_out_line
from misodice.labelling.llm.completion import Reply
from misodice.labelling.llm.cost import Price, estimate
from misodice.labelling.llm.failures import without_key
from misodice.labelling.llm.question import ORDERS, Request, custom_id

PAID_TRIES = 3
"""Finished answers without a winner that end a request, in all runs together: each is paid for."""
FINISHED = ("refused", "empty", "malformed", "names several winners")
"""Problems of an answer that the model finished. Nothing else without an answer is final, also in older files."""


class Ledger:
    """Everything a language model said, in preferences.jsonl the moment it arrives.

    Args:
        file: open for writing.
        requests: both orders of every pair without an answer.
        price: of a token; None where unknown.
        budget: USD that may be spent on this file in all its runs; None is no limit.
        reason: whether answers carry a reason (for the estimate).
        tries: failures that end a request for this run.
        secret: the key, which never reaches the file even where a server repeats it.
        limit: tokens that an answer may have; None where the parameters do not say.
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
        limit: int | None = None,
    ) -> None:
        self.file, self.price, self.budget, self.reason, self.tries = file, price, budget, reason, tries
        self.limit = limit
        self._secret = secret
        self._requests = {(request.pair, request.order): request for request in requests}
        self._names = {request.custom_id for request in requests}
        self._replies: dict[str, list[Line]] = {}
        self._settled: set[str] = set()
        self._given_up: dict[str, Line] = {}
        self._concluded: set[int] = set()
        self._failed_now: Counter[str] = Counter()
        self._reserved: dict[str, float] = {}
        self._set_aside = 0.0
        self.spent = 0.0
        for line in file.lines:
            if line["kind"] == "reply":
                self._take(line)
                if is_cut_off(line, limit):
                    self._given_up[custom_id(line["pair"], line["order"], line["request"])] = line
        # A run that was killed between a pair's second reply and its answer left only the answer to write.
        for pair in sorted({request.pair for request in requests}):
            self._conclude(pair)

    @property
    def open_requests(self) -> list[Request]:
        """Requests that still need a reply, the two orders of a pair beside each other."""
        return [request for request in self._requests.values() if not self.done(request)]

    @property
    def n_requests(self) -> int:
        """Both orders of every pair that had no answer when the run began."""
        return len(self._requests)

    @property
    def n_done(self) -> int:
        """How many of the requests are not asked any more in this run."""
        return sum(self.done(request) for request in self._requests.values())

    @property
    def failed(self) -> dict[int, Line]:
        """Pairs that this run has no answer of, each with the reply that says why."""
        found: dict[int, Line] = {}
        for (pair, _), request in self._requests.items():
            line = self._given_up.get(request.custom_id)
            if line is None or pair in self._concluded:
                continue
            # What may pass weighs more: the other order's failure is told by the next run.
            if pair not in found or line.get("failure") == "transport":
                found[pair] = line
        return found

    @property
    def answered(self) -> bool:
        """Whether the file has an answer already."""
        return any(line["kind"] == "reply" and line["answer"] is not None for line in self.file.lines)

    @property
    def paid_in_vain(self) -> list[Reply]:
        """The replies since the last answer that were paid for and are none, one a request, oldest first."""
        found: dict[str, Reply] = {}
        for line in reversed(self.file.lines):
            if line["kind"] != "reply":
                continue
            if line["answer"] is not None:
                break
            name = custom_id(line["pair"], line["order"], line["request"])
            if is_final(line):
                found[name] = Reply(problem=line["problem"], failure=line.get("failure"), final=True)
            elif is_cut_off(line, self.limit):
                found[name] = Reply(problem=line["problem"], failure="cut off")
        return list(found.values())[::-1]

    def named(self, custom_ids: set[str]) -> list[Request]:
        """The requests of these names."""
        return [request for request in self._requests.values() if request.custom_id in custom_ids]

    def replied(self, request: Request, batch: str) -> bool:
        """Whether a batch's reply to a request is taken in."""
        return any(line.get("batch") == batch for line in self._replies.get(request.custom_id, []))

    def settled(self, request: Request) -> bool:
        """Whether its last reply is there, for this run and all later ones."""
        return request.custom_id in self._settled

    def done(self, request: Request) -> bool:
        """Whether this run asks it no more: it is settled, was given up, or its pair has an answer without it."""
        return self.ended(request) or request.pair in self._concluded

    def ended(self, request: Request) -> bool:
        """Whether its own replies end it, for this run or for good."""
        return request.custom_id in self._settled or request.custom_id in self._given_up

    def tried(self, request: Request) -> int:
        return len(self._replies.get(request.custom_id, []))

    def reserve(self, request: Request) -> bool:
        """Set a request's likely cost aside; False where the budget does not allow it."""
        if self.budget is None:
            return True
        cost = estimate([request], self.price, self.reason).cost or 0.0
        self.release(request)
        if self.spent + self._set_aside + cost > self.budget:
            return False
        self._set_aside += cost
        self._reserved[request.custom_id] = cost
        return True

    def release(self, request: Request) -> None:
        """Give back what was set aside for a request."""
        self._set_aside -= self._reserved.pop(request.custom_id, 0.0)

    def record(self, request: Request, reply: Reply, structured: str, batch: str | None = None, tries: int = 1) -> None:
        """Append a reply, and the pair's answer where it was the last one missing.

        Args:
            request: what was asked.
            reply: what came back.
            structured: one of `STRUCTURED`.
            batch: which batch it came with.
            tries: failures of the transport that end the request for this run.
        """
        self.release(request)
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
            "failure": reply.failure,
            "final": reply.final or self._ends(request, reply),
            "limit": self.limit,
            "usage": reply.usage,
            "cost": self._cost(request, reply),
            "raw": self._without_secret(reply.raw),
        }
        self.file.append(line)
        self._take(line)
        name = request.custom_id
        self._failed_now[name] += reply.failure == "transport"
        if reply.failure in ("request", "cut off") or self._failed_now[name] >= tries:
            self._given_up[name] = line
        self._conclude(request.pair)

    def leave_out(self) -> None:
        """Note the pairs that this run goes on without; `misodice label` asks them again."""
        known = left_out(self.file.lines)
        for pair, line in self.failed.items():
            if known.get(pair) != line["problem"]:
                self.file.append(left_out_line(pair, self.file.pairs[pair].tolist(), line["problem"]))

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

    def _ends(self, request: Request, reply: Reply) -> bool:
        if reply.failure != "unusable":
            return False
        replies = self._replies.get(request.custom_id, [])
        before = len([line for line in replies if line.get("failure") == "unusable"])
        return before + 1 >= min(self.tries, PAID_TRIES)

    def _take(self, line: Line) -> None:
        name = custom_id(line["pair"], line["order"], line["request"])
        self._replies.setdefault(name, []).append(line)
        if is_final(line):
            self._settled.add(name)
        self.spent += line["cost"] or 0.0

    def _conclude(self, pair: int) -> None:
        if pair in self._concluded:
            return
        replies = []
        for order in ORDERS:
            request = self._requests[pair, order]
            replies += [line for line in self._replies.get(request.custom_id, []) if is_final(line)][:1]
        if len(replies) == len(ORDERS) or any(line["answer"] is None for line in replies):
            self._concluded.add(pair)
            answer, tie_reason = _agreed(replies)
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
        return without_key(text, self._secret) if text else text


def is_final(line: Line) -> bool:
    """Whether a reply is the model's own finished one, so that the question is not asked again."""
    return bool(line["final"]) and (line["answer"] is not None or line["problem"] in FINISHED)


def is_cut_off(line: Line, limit: int | None) -> bool:
    """Whether an answer was cut off, and would be again by a limit of so many tokens."""
    if line.get("failure") != "cut off":
        return False
    then = line.get("limit")
    return limit is None if then is None else limit is not None and limit <= int(then)


def _agreed(replies: list[Line]) -> tuple[Answer, str | None]:
    """The pair's answer where both orders say the same of it; else a tie and why."""
    for line in replies:
        if line["answer"] is None:
            return "tie", line["problem"]
    said: Answer = replies[0]["answer"]
    return (said, None) if said == OPPOSITE[replies[1]["answer"]] else ("tie", "inconsistent")
