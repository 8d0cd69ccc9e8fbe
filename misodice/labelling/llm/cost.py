"""What labelling costs, before and while it does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from misodice.labelling.describe.base import tokens
from misodice.labelling.llm.question import Request
from misodice.runs.limits import NOT_NEGATIVE, Limit

# USD for a million input and output tokens, as published in 2025. Prices change: the option `price` overrides.
PRICES = {"gpt-4o": (2.50, 10.00), "gpt-4o-mini": (0.15, 0.60)}
PRICE = Limit(
    "two finite numbers, each at least 0: USD for a million input and output tokens",
    lambda value: isinstance(value, (list, tuple)) and len(value) == 2 and all(map(NOT_NEGATIVE.holds, value)),
)
BATCH_SHARE = 0.5
"""The Batch API costs half."""
ANSWER_TOKENS = {False: 12, True: 50}
"""About how long an answer is, without and with a reason."""


@dataclass(frozen=True)
class Price:
    """USD for a million tokens."""

    input: float
    output: float

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """USD for so many tokens."""
        return (prompt_tokens * self.input + completion_tokens * self.output) / 1e6


def price_of(model: str, given: tuple[float, float] | None, batch: bool) -> Price | None:
    """The price that was given, else the model's in `PRICES` (a dated name counts as its family), else None."""
    known = given or PRICES.get(re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model))
    share = BATCH_SHARE if batch else 1.0
    return None if known is None else Price(known[0] * share, known[1] * share)


@dataclass(frozen=True)
class Estimate:
    """Of the requests still to be made: how many, about how many tokens, and USD (None where the price is unknown)."""

    requests: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None

    def __str__(self) -> str:
        price = "price unknown: give labeller.price to see it" if self.cost is None else f"about {self.cost:.2f} USD"
        return (
            f"{self.requests} requests, about {self.prompt_tokens} prompt and {self.completion_tokens} answer tokens, "
            f"{price}"
        )


def estimate(requests: list[Request], price: Price | None, reason: bool) -> Estimate:
    """Of these requests, each answered at the first try."""
    prompt_tokens = sum(tokens(request.prompt) for request in requests)
    completion_tokens = ANSWER_TOKENS[reason] * len(requests)
    cost = None if price is None else price.cost(prompt_tokens, completion_tokens)
    return Estimate(len(requests), prompt_tokens, completion_tokens, cost)
