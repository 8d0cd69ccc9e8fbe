"""What a failure means: of the transport, of the whole account, of one request; and the server's own words."""

from __future__ import annotations

import html
import json
import math
import re
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Literal

Kind = Literal["transport", "account", "parameter", "format", "request"]
"""Who is concerned: `transport` may pass; `account` and `parameter` end every request; `format` says that the wanted
`response_format` is not taken; `request` is this question alone."""

PAID_OUT = (
    *("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_balance"),
    *("insufficient_credits", "insufficient_user_quota", "credit_balance_too_low"),
)
CODES = {"invalid_api_key": 401, "model_not_found": 404, "DeploymentNotFound": 404, "rate_limit_exceeded": 429}
"""Statuses of errors that come without a number."""
_FILTER = re.compile(
    r"content[ _-]?(filter|policy|management|moderation|exists risk)|responsible ?ai|moderation|flagged|"
    r"(inappropriate|prohibited|harmful|sensitive) content|safety (system|filter|polic)|usage polic|data_inspection",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context[ _-]?(length|window|size)|string_above_max|(prompt|input|message|request)s? (is|are) too (long|large)|"
    r"too many (input |prompt )?tokens|reduce the length|maximum (input|prompt) length",
    re.IGNORECASE,
)
_FORMAT = re.compile(
    r"response[ _]?format|json[ _]?schema|json[ _]?object|json mode|structured[ _]output|additionalProperties|"
    r"response_schema|\bgrammar\b|guided[ _](json|decoding)",
    re.IGNORECASE,
)
_ACCESS = re.compile(
    r"\bkeys?\b|api_?key|bearer|\btoken\b|permission|quota|credential|auth|access|billing|payment|credit|balance|account|"
    r"subscription|organi[sz]ation|project|country|region|territory|suspended|disabled|expired|\bip\b|\bplan\b|licen[cs]e",
    re.IGNORECASE,
)
"""What a 403 speaks of that is not about one request."""
_MODEL = re.compile(r"model\b.{0,80}(not found|not exist|unknown|not available)|(unknown|invalid) model", re.I | re.S)
WORDS = 200
"""Characters of a server's text that a message quotes."""


class FailedError(Exception):
    """A request that has no answer.

    Args:
        kind: who is concerned.
        problem: in few words, the same for all of its sort; it is counted.
        said: the server's own words, without the key.
        status: of HTTP.
        code: the server's own name of the error.
        wait: seconds that the server asks to wait.
    """

    def __init__(
        self,
        kind: Kind,
        problem: str,
        said: str = "",
        status: int | None = None,
        code: str = "",
        wait: float | None = None,
    ) -> None:
        super().__init__(problem)
        self.kind, self.problem, self.said = kind, problem, said
        self.status, self.code, self.wait = status, code, wait

    def __str__(self) -> str:
        return quoted(self.problem, self.said)


def quoted(problem: str, said: str | None) -> str:
    """The problem with the server's words, for one line of a message."""
    return f"{problem}: {one_line(said)!r}" if said else problem


@dataclass(frozen=True)
class Said:
    """An error as a server told it."""

    status: int | None
    words: str
    code: str = ""
    param: str = ""


def said_in(body: Any, status: int | None) -> Said:
    """Read an error's body, whatever its form: OpenAI's, FastAPI's, Google's list, a text, a page."""
    if isinstance(body, str):
        body = body.removeprefix("\ufeff")
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return Said(status, one_line(_text_of_page(body)))
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return Said(status, "" if body is None else one_line(str(body)))
    error = body.get("error", body)
    if not isinstance(error, dict):
        return Said(status, one_line(str(error or body.get("message") or "")))
    words = next((error[name] for name in ("message", "detail", "error", "msg") if error.get(name)), "")
    code = str(error.get("code") or error.get("type") or "")
    inner = error.get("innererror")
    if isinstance(inner, dict) and inner.get("code"):
        code = f"{code} {inner['code']}"
    if error.get("type") in PAID_OUT:
        code = str(error["type"])
    text = words if isinstance(words, str) else json.dumps(words)
    return Said(status, one_line(text), code, str(error.get("param") or ""))


def error_in(payload: Any) -> Said | None:
    """The error that stands in the body of an HTTP 200; None where there is none."""
    if not isinstance(payload, dict):
        return None
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    for body in (payload, choice):
        if isinstance(body, dict) and body.get("error"):
            said = said_in(body, None)
            number = re.fullmatch(r"([45]\d\d)\b.*", said.code)
            status = int(number[1]) if number else CODES.get(said.code)
            return Said(status, said.words, said.code, said.param)
    if choices is None and ("detail" in payload or payload.get("object") == "error"):
        return said_in(payload, None)
    return None


def kind_of(said: Said, parameters: Collection[str] = (), answered: bool = False) -> Kind:
    """Who is concerned by an error.

    Args:
        said: the error.
        parameters: names of what is sent with every request besides model, messages and response_format.
        answered: whether the server gave an answer before. It accepts the key then, so that a 403 is of one request
            unless it speaks of the key, of permission or of the quota.
    """
    text = f"{said.code} {said.param} {said.words}"
    status = said.status
    if said.code in PAID_OUT or status in (401, 402):
        return "account"
    if status == 413 or said.code == "context_length_exceeded":
        return "request"
    if status in (400, 403, 422, 451, None) and _FILTER.search(text):
        return "request"
    if status in (400, 415, 422, 500, 501) and _FORMAT.search(text):
        return "format"
    if status in (400, 404, 422) and (said.code == "model_not_found" or _MODEL.search(text)):
        return "account"
    if status in (400, 422):
        if _TOO_LONG.search(text):
            return "request"
        wrong = said.code in ("unsupported_parameter", "unsupported_value", "unknown_parameter")
        named = any(re.search(rf"\b{re.escape(name)}\b", text) for name in parameters)
        return "parameter" if wrong or named or said.param.split(".")[0] in parameters else "request"
    if status == 403 and answered and not _ACCESS.search(text):
        return "request"
    if status in (403, 404, 405, 407, 410) or (status is not None and 300 <= status < 400):
        return "account"
    return "transport" if status is None or passing(status) else "request"


def failure_of(
    said: Said, parameters: Collection[str] = (), wait: float | None = None, answered: bool = False
) -> FailedError:
    """The error to raise for what a server said; `parameters` and `answered` as in `kind_of`, `wait` in seconds."""
    kind, text = kind_of(said, parameters, answered), f"{said.code} {said.words}"
    problem = "error in a reply" if said.status is None else f"HTTP {said.status}"
    if kind == "request" and _FILTER.search(text):
        problem = "refused by a content filter"
    elif kind == "request" and (said.status == 413 or _TOO_LONG.search(text)):
        problem = f"prompt too long (HTTP {said.status})" if said.status else "prompt too long"
    return FailedError(kind, problem, said.words or one_line(said.code), said.status, said.code, wait)


def passing(status: int) -> bool:
    """Whether a status says that the same request may pass later."""
    return status in (408, 409, 425, 429) or status >= 500


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait (RFC 9110, 10.2.3: a number or a date); None where it says nothing of use."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        text = headers.get(name)
        if text is None:
            continue
        try:
            seconds = float(text) / unit
        except ValueError:
            seconds = _until(text)
        if math.isfinite(seconds) and seconds > 0:
            return seconds
    return None


def _until(text: str) -> float:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def one_line(text: str) -> str:
    """A server's words as one short line that a terminal shows as it is."""
    line = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text[: 20 * WORDS]).split())
    return line if len(line) <= WORDS else f"{line[: WORDS - 1]}…"


def _text_of_page(text: str) -> str:
    text = text[: 20 * WORDS]
    if "<" not in text:
        return text
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", text))


def without_key(text: str, key: str | None) -> str:
    """The text with `***` for the key and for long parts of it."""
    if not key:
        return text
    text = text.replace(key, "***")
    part, position = 8, 0
    while len(key) > part and position + part <= len(text):
        if text[position : position + part] not in key:
            position += 1
            continue
        length = part
        while position + length < len(text) and text[position : position + length + 1] in key:
            length += 1
        text = f"{text[:position]}***{text[position + length :]}"
        position += 3
    return text


def without_masked(text: str) -> str:
    """The text with `***` for words that a server masked itself: they end like the key does."""
    return re.sub(r"\S*\*{3,}\S*", "***", text)
