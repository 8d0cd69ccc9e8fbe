"""Stops where one request after another has no answer."""

from __future__ import annotations

import json
from typing import Any

from misodice.errors import MisodiceError
from misodice.labelling.llm.completion import Reply
from misodice.labelling.llm.question import LIMITS, limit_of
from misodice.labelling.llm.server import KEPT

MAX_FAILED_IN_ROW = 20
"""Requests given up one after another that mean that all will fail, not that the pairs are odd."""


class Streak:
    """Counts the requests that were given up one after another, whatever the cause.

    Args:
        url: of the server.
        tries: how often each was sent.
        parameters: what is sent with every request.
        paid: answers at the end of the file that were paid for and name no winner. They count, so that the same command
            does not pay for 20 more of them each time.

    Raises:
        MisodiceError: the file ends with so many already.
    """

    def __init__(self, url: str, tries: int, parameters: dict[str, Any], paid: list[Reply]) -> None:
        self._url, self._tries, self._parameters = url, tries, parameters
        self._length = 0
        for reply in paid:
            self.failed(reply)

    def passed(self) -> None:
        """Note an answer."""
        self._length = 0

    def failed(self, reply: Reply) -> None:
        """Note a request that was given up.

        Raises:
            MisodiceError: it is one too many.
        """
        self._length += 1
        if self._length < MAX_FAILED_IN_ROW:
            return
        if reply.failure == "transport":
            raise MisodiceError(
                f"LLMLabeller: {self._length} requests in a row failed after {self._tries} tries each, the last with: "
                f"{reply.said}; check {self._url}. {KEPT}"
            )
        if reply.failure == "cut off":
            raise MisodiceError(
                f"LLMLabeller: {self._length} answers in a row were cut off{raise_limit(self._parameters)}. What was "
                "answered is kept"
            )
        remedy = "" if reply.failure == "request" else ": look at the prompts with `misodice label --show 3`"
        raise MisodiceError(
            f"LLMLabeller: {self._length} requests in a row had no answer, the last: {reply.said}{remedy}; choose "
            "another labeller.model, labeller.template or labeller.parameters. What was answered is kept"
        )


def raise_limit(parameters: dict[str, Any]) -> str:
    """Where answers are cut off, and what to do, as the end of a message."""
    limit = limit_of(parameters)
    if limit is None:
        return ": give max_tokens (or max_completion_tokens) in labeller.parameters, or the server a longer context"
    name = next(name for name in LIMITS if parameters.get(name) is not None)
    # All of them: what is given replaces them, and without the others all would be asked anew.
    longer = json.dumps(parameters | {name: 10 * limit})
    return f" by {name} {limit}: raise it, such as labeller.parameters {longer}; answers that were not cut off stay"
