"""What may stand in `parameters`, which are sent with every request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from misodice.errors import MisodiceError

OURS = {
    "model": "set labeller.model",
    "messages": "give labeller.template, which makes them",
    "stream": "leave it out",
    "stream_options": "leave it out",
    "response_format": "leave it out: what the server takes is found with the first question",
}
"""What the labeller sends itself, and what to do in place of it."""
_SECRET = re.compile(
    r"api[_-]?key|secret|passw|authori[sz]ation|bearer|credential|(access|auth|id|session)[_-]?token|^(key|token|auth)$",
    re.IGNORECASE,
)
_KEY = re.compile(r"^(Bearer\s|sk-)")


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse what cannot be sent, what has no effect, and what must not be written into config.yaml.

    Raises:
        MisodiceError: which one it is, and what to do.
    """
    for name, value in parameters.items():
        if name in OURS:
            raise MisodiceError(f"LLMLabeller: parameters holds {name!r}, which the labeller sets itself; {OURS[name]}")
        if name in ("n", "best_of") and value not in (1, None):
            raise MisodiceError(
                f"LLMLabeller: parameters.{name}: found {value!r}, but only one answer to a question is read, and each "
                "is paid for; leave it out"
            )
        if any(_SECRET.search(inner) or _KEY.search(text) for inner, text in _entries(name, value)):
            raise MisodiceError(
                f"LLMLabeller: parameters holds a key or password in {name!r}, which would be written into "
                "config.yaml; leave it out and set OPENAI_API_KEY in the environment"
            )
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise MisodiceError(
                f"LLMLabeller: parameters.{name} cannot be said in JSON ({error}); expected finite numbers, texts, "
                "true, false, null, or lists and mappings of them"
            ) from None


def _entries(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """All names in a parameter with the texts that stand there."""
    waiting, seen = [(str(name), value)], set()
    while waiting:
        name, value = waiting.pop()
        yield name, value if isinstance(value, str) else ""
        if isinstance(value, (Mapping, list, tuple)):
            if id(value) in seen:  # a YAML alias may lead back to itself
                continue
            seen.add(id(value))
            inner = value.items() if isinstance(value, Mapping) else ((name, each) for each in value)
            waiting.extend((str(key), each) for key, each in inner)
