"""What a language model is asked and how its answer is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError
from misodice.labelling.describe.base import Describer, tokens

Order = Literal["forward", "swapped"]
ORDERS: tuple[Order, Order] = ("forward", "swapped")

DEFAULT_PARAMETERS: dict[str, Any] = {"temperature": 0, "max_tokens": 200}
LIMITS = ("max_completion_tokens", "max_tokens")
"""Parameters that cut an answer off; reasoning models take only the first."""
STRUCTURED = ("json_schema", "json_object_with_schema", "json_object", "text")
"""Ways to get a structured answer, best first; llama.cpp's server takes the second, others only the last."""


@dataclass(frozen=True)
class Request:
    """One question: a pair in one order. `key` is a hash of everything that is sent and of the order."""

    pair: int
    order: Order
    prompt: str
    key: str

    @property
    def custom_id(self) -> str:
        """Name of this request in the Batch API."""
        return custom_id(self.pair, self.order, self.key)


def custom_id(pair: int, order: str, key: str) -> str:
    """Two pairs of equal episodes have equal keys, so the pair is part of the name."""
    return f"{pair}-{order}-{key}"


class Prompts:
    """Renders pairs of episodes with a Jinja template.

    The template is given `task`, `engine`, `first` and `second` (descriptions) and `reason` (whether one is wanted). It
    runs in Jinja's sandbox.

    Args:
        episodes: the file.
        template: path of a template; None is the package's own.
        reason: whether a reason is asked for.
        describer: puts an episode into words.
        max_tokens: of the whole prompt.

    Raises:
        MisodiceError: the template cannot be read or rendered, or the file cannot be described.
    """

    def __init__(
        self, episodes: Episodes, template: str | None, reason: bool, describer: Describer, max_tokens: int
    ) -> None:
        try:
            from jinja2 import StrictUndefined, TemplateError
            from jinja2.sandbox import SandboxedEnvironment
        except ImportError as error:
            raise MisodiceError("LLMLabeller needs jinja2: pip install 'misodice[llm]'") from error
        self._name, self._error = template or "the built-in template", TemplateError
        environment = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=False)
        env = episodes.header.env
        self._context = {"task": env.get("task"), "engine": env.get("engine"), "reason": reason}
        try:
            self._template = environment.from_string(template_text(template))
        except TemplateError as error:
            raise self._complaint(error) from error
        frame = tokens(self._render("", ""))
        self._describe = describer.describe(episodes, (max_tokens - frame) // 2)

    def __call__(self, first: int, second: int) -> str:
        """The prompt that shows episode `first` before episode `second`."""
        return self._render(self._describe(first), self._describe(second))

    def _render(self, first: str, second: str) -> str:
        try:
            return self._template.render(first=first, second=second, **self._context)
        except self._error as error:
            raise self._complaint(error) from error

    def _complaint(self, error: Exception) -> MisodiceError:
        line = getattr(error, "lineno", None)
        where = f"{self._name}, line {line}" if line else self._name
        return MisodiceError(
            f"LLMLabeller: template {where}: {error}; it may use task, engine, first, second and reason"
        )


def template_text(template: str | None) -> str:
    """The text of a prompt template; None is the package's own.

    Raises:
        MisodiceError: the file cannot be read.
    """
    if template is None:
        return files("misodice.labelling.llm").joinpath("prompts/pair.jinja").read_text(encoding="utf-8")
    try:
        return Path(template).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MisodiceError(f"LLMLabeller: template: {error}; name a readable UTF-8 text file") from error


def body(prompt: str, model: str, parameters: dict[str, Any], structured: str, reason: bool) -> dict[str, Any]:
    """The JSON of one chat completion."""
    content = {"model": model, "messages": [{"role": "user", "content": prompt}], **parameters}
    wanted = response_format(structured, reason)
    return content | ({"response_format": wanted} if wanted else {})


def response_format(structured: str, reason: bool) -> dict[str, Any] | None:
    """The `response_format` of one of `STRUCTURED`; None for plain text."""
    schema = answer_schema(reason)
    formats: dict[str, dict[str, Any]] = {
        "json_schema": {
            "type": "json_schema",
            "json_schema": {"name": "preference", "strict": True, "schema": schema},
        },
        "json_object_with_schema": {"type": "json_object", "schema": schema},
        "json_object": {"type": "json_object"},
    }
    return formats.get(structured)


def answer_schema(reason: bool) -> dict[str, Any]:
    """JSON schema of an answer. The reason stands first, so that it is thought of before the winner is named."""
    winner = {"type": "string", "enum": ["first", "second", "tie"]}
    properties = ({"reason": {"type": "string"}} if reason else {}) | {"winner": winner}
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def request_key(model: str, parameters: dict[str, Any], reason: bool, prompt: str, order: Order) -> str:
    """Hash of everything that determines a finished answer."""
    content = json.dumps([model, without_limit(parameters), answer_schema(reason), prompt, order], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def limit_of(parameters: dict[str, Any]) -> int | None:
    """How many tokens an answer may have; None where the parameters do not say."""
    given = next((parameters[name] for name in LIMITS if parameters.get(name) is not None), None)
    return given if isinstance(given, int) else None


def without_limit(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters as they count for a finished answer.

    A longer limit changes none, so that it may be raised for those that were cut off. In its place stands the default,
    which older files were marked with.
    """
    rest = {name: value for name, value in parameters.items() if name not in LIMITS}
    return rest | {"max_tokens": DEFAULT_PARAMETERS["max_tokens"]}
