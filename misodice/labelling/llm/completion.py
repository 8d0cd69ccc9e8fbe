"""A chat completion as it came: a model's finished answer, or why it is none."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Literal

from misodice.data.preferences import Answer
from misodice.labelling.llm.answer import read_answer
from misodice.labelling.llm.failures import FailedError, error_in, failure_of, one_line, quoted, said_in

Failure = Literal["transport", "request", "cut off", "unusable"]
WHOLE = (
    *("none", "", "stop", "eos", "eos_token", "stop_token", "end_turn", "stop_sequence", "complete", "completed"),
    *("tool_calls", "tool_call", "tool_use", "function_call"),
)
"""What `finish_reason` is where the model ended by itself, in lower case; null and absent are "none"."""
CUT_OFF = (
    *("length", "max_length", "max_tokens", "max_new_tokens", "max_output_tokens", "max_completion_tokens"),
    *("model_length", "token_limit", "context_length_exceeded", "model_context_window_exceeded"),
)
FILTERED = (
    *("content_filter", "content_filtered", "safety", "recitation", "prohibited_content", "blocklist", "spii"),
    *("sensitive", "refusal", "image_safety", "moderation", "guardrail_intervened"),
)
BROKEN_OFF = (
    *("error", "abort", "aborted", "cancelled", "canceled", "insufficient_system_resource", "network_error", "failed"),
    *("timeout", "time_limit", "incomplete", "interrupted"),
)
NO_JSON = "no JSON in an HTTP 200"
FILTER = "refused by a content filter"


@dataclass(frozen=True)
class Reply:
    """What came back: an answer, or the problem why there is none.

    Attributes:
        answer: as given, in the order asked; None where there is a problem.
        problem: why there is no answer, in words that are counted.
        failure: of which sort the problem is: the transport's, the refusal of this request, an answer that was cut
            off, or a finished answer that names no winner. None for an answer and for a model's own refusal.
        final: asking again would not help.
        raw: the content, or the server's words.
        model: which model says that it answered.
        usage: tokens that were paid for, as the server tells; empty where it does not, None where nothing came back.
    """

    answer: Answer | None = None
    reason: str | None = None
    problem: str | None = None
    failure: Failure | None = None
    final: bool = False
    raw: str | None = None
    model: str | None = None
    usage: dict[str, int] | None = None

    @property
    def said(self) -> str:
        """The problem with the server's words."""
        return quoted(self.problem or "", self.raw if self.failure in ("transport", "request") else None)

    @classmethod
    def of(cls, error: FailedError) -> Reply:
        """A request that failed, as it is noted."""
        kind: Failure = "request" if error.kind == "request" else "transport"
        return cls(problem=error.problem, failure=kind, raw=error.said or None)


def read_completion(payload: Any) -> Reply:
    """Read a chat completion.

    Raises:
        FailedError: it is none: an error, or something else, in an HTTP 200.
    """
    error = error_in(payload)
    if error is not None:
        raise failure_of(error)
    choices = payload.get("choices") if isinstance(payload, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise FailedError("transport", "no chat completion", json.dumps(payload)[:2000])
    model, refusal = payload.get("model"), message.get("refusal")
    content = text_of(message.get("content"))
    finish = str(choice.get("finish_reason")).strip().lower().removeprefix("finish_reason_")
    blank = Reply(model=model if isinstance(model, str) else None, usage=_usage(payload.get("usage")), raw=content)
    if finish in BROKEN_OFF:
        raise FailedError("transport", f"answer broken off ({finish})", content or "")
    if finish in CUT_OFF:
        return replace(blank, problem="cut off", failure="cut off")
    if finish in FILTERED:
        # Not the model's word: the same question may pass another time.
        return replace(blank, problem=FILTER, failure="request", raw=str(refusal or content or "") or None)
    if finish not in WHOLE:
        # What the name means is not known, so what stands there may be half an answer.
        raise FailedError("transport", f"unknown finish_reason {one_line(finish)[:40]!r}", content or "")
    if refusal:
        return replace(blank, problem="refused", final=True, raw=str(refusal or content))
    if content is None or not content.strip():
        return replace(blank, problem="empty", failure="unusable")
    named = read_answer(content)
    if named.answer is None:
        return replace(blank, problem=named.problem, failure="unusable")
    return replace(blank, answer=named.answer, reason=named.reason, final=True)


def payload_of(text: str) -> Any:
    """The JSON of an HTTP 200, also behind a byte order mark.

    Raises:
        FailedError: it is none, or Python cannot read it: too deep, a number with too many digits.
    """
    text = text.removeprefix("\ufeff")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise FailedError("transport", NO_JSON, said_in(text, 200).words) from None
    except (ValueError, RecursionError) as error:
        raise FailedError("transport", NO_JSON, str(error)) from None


def text_of(content: Any) -> str | None:
    """The text of a message's content: a text, or parts of which those of thinking are left out."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [text for text in map(_text_of_part, content) if text is not None]
        return "".join(texts) if texts else None
    return json.dumps(content) if isinstance(content, dict) and "type" not in content else _text_of_part(content)


def _text_of_part(part: Any) -> str | None:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type") not in ("text", "output_text"):
        return None
    text = part.get("text")
    if isinstance(text, dict):
        text = text.get("value")
    return text if isinstance(text, str) else None


def _usage(given: Any) -> dict[str, int]:
    names = ("prompt_tokens", "completion_tokens")
    return {
        name: given[name]
        for name in names
        if isinstance(given, dict) and isinstance(given.get(name), int) and given[name] >= 0
    }
