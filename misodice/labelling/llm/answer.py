"""The winner that a model's text names: read where it is clear, never guessed where it is not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from misodice.data.preferences import Answer

KEYS = ("winner", "answer", "better", "choice", "decision", "preference", "preferred", "result", "verdict")
"""Keys of a JSON object that name the better episode; `winner` is what is asked for."""
ANSWERS: dict[str, Answer] = {
    **dict.fromkeys(("first", "1st", "episode one", "episode 1", "episode first"), "first"),
    **dict.fromkeys(("second", "2nd", "episode two", "episode 2", "episode second"), "second"),
    **dict.fromkeys(("tie", "tied", "draw"), "tie"),
}
"""What a model calls an answer. A bare number is none: it may count from 0 or from 1."""
_TAG = r"(?:think|thinking|thought|thoughts|reasoning|reflection)"
_OPEN = re.compile(rf"<{_TAG}>|\[THINK\]|◁think▷", re.I)
_CLOSE = re.compile(rf"</{_TAG}>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>", re.I)
_NAME = r"[\w ]{1,30}?"
_LABELLED = re.compile(
    rf"(?:the )?(?:final )?(?:{'|'.join(KEYS)})(?: episode)?(?: is)? ?[:=]? ?(?:the )?({_NAME})", re.IGNORECASE
)
_MARKED = re.compile(rf"\\boxed\{{(?:\\text\{{)?({_NAME})\}}|<(?P<tag>answer|winner)>\s*({_NAME})\s*</(?P=tag)>", re.I)
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "'", "\t": " "})
MAX_OBJECTS, MAX_ENDS, MAX_OBJECT = 50, 10, 4000
"""How far a text that is no proper JSON is looked through."""


@dataclass(frozen=True)
class Named:
    """The winner and reason of a text; where there is no clear winner, why not."""

    answer: Answer | None = None
    reason: str | None = None
    problem: str | None = None


def read_answer(text: str) -> Named:
    """Winner and reason in a model's text.

    Understood are a JSON object (also in a code fence, with a trailing comma, single or typographic quotes), a line
    such as `Winner: first`, `\\boxed{first}`, `<answer>first</answer>`, and a text that is the bare word. Reasoning in
    `<think>…</think>` is cut away first. Names in several places count only where all say the same.
    """
    text = without_reasoning(text)
    names = [_answer(match[1] or match[3]) for match in _MARKED.finditer(text)]
    text = _MARKED.sub(" ", text)
    reasons: list[str] = []
    rest: list[str] = []
    end = 0
    for start, stop, pairs in _objects(text):
        rest.append(text[end:start])
        end = stop
        for key, value in pairs:
            if key == "reason":
                reasons.append(value)
            elif key in KEYS and not isinstance(value, _Object):  # of an object in it, the inner keys count
                names.append(_answer(value))
    rest.append(text[end:])
    outside = "\n".join(rest)
    names += _labelled(outside)
    if not names:
        bare = _answer(re.sub(r"```\w*", " ", outside))
        return Named(problem="malformed") if bare is None else Named(bare)
    if len(set(names)) > 1:
        return Named(problem="names several winners")
    reason = reasons[-1] if reasons else None
    return Named(names[0], reason) if names[0] else Named(problem="malformed")


def without_reasoning(text: str) -> str:
    """The text without what stands in tags of thinking; a thought that never ends is cut to the text's end."""
    kept, position = "", 0
    while True:
        opened, closed = _OPEN.search(text, position), _CLOSE.search(text, position)
        if closed is None:
            return kept + text[position : opened.start() if opened else len(text)]
        if opened is not None and opened.start() < closed.start():
            kept += text[position : opened.start()]
        else:
            kept = ""  # it began before the text did, as some chat templates have it
        position = closed.end()


def _answer(value: Any) -> Answer | None:
    """The answer that a value is the name of."""
    if not isinstance(value, str):
        return None
    words = " ".join(re.sub(r"[^\w\s]|_", " ", value).lower().split())
    words = words.removeprefix("the ").removeprefix("a ")
    return ANSWERS.get(words) or ANSWERS.get(words.removesuffix(" episode"))


def _labelled(text: str) -> Iterator[Answer]:
    """Answers that stand behind a word such as `Winner:` in a line of their own."""
    for line in text.splitlines():
        labelled = _LABELLED.fullmatch(" ".join(re.sub(r"[*_`\"'“”#>.!]", "", line).split()))
        if labelled and (answer := _answer(labelled[1])):
            yield answer


Pairs = list[tuple[str, Any]]


def _objects(text: str) -> Iterator[tuple[int, int, Pairs]]:
    """Where each outermost object begins and ends, and all its keys (in lower case) with their values."""
    position = tried = 0
    decoder = json.JSONDecoder(object_pairs_hook=_Object, strict=False)
    while (start := text.find("{", position)) >= 0:
        position = start + 1
        try:
            value, stop = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            tried += 1
            found = _loose(text, start) if tried <= MAX_OBJECTS else None
            if found is None:
                continue
            value, stop = found
        yield start, stop, list(_pairs(value))
        position = stop


class _Object(list[tuple[str, Any]]):
    """A JSON object as pairs: a dict would keep the last of two equal keys without a word."""


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    stack = [value]
    while stack:
        value = stack.pop()
        if isinstance(value, _Object):
            for key, inner in value:
                # "reason" is a text for the reader; a winner may be anything, and what is no name is no answer.
                if key.strip().lower() != "reason" or isinstance(inner, str):
                    yield key.strip().lower(), inner
                stack.append(inner)
        elif isinstance(value, list):
            stack.extend(value)


def _loose(text: str, start: int) -> tuple[Any, int] | None:
    """An object that is JSON but for its quotes or a comma, read as YAML's flow form."""
    stop = start
    for _ in range(MAX_ENDS):
        stop = text.find("}", stop) + 1
        if not stop or stop - start > MAX_OBJECT:
            return None
        try:
            node = yaml.compose(text[start:stop].translate(_QUOTES), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        if isinstance(node, yaml.MappingNode):
            return _plain(node, set()), stop
    return None


def _plain(node: Any, seen: set[int]) -> Any:
    """A YAML node as lists and texts; one that is met again through an alias is left out."""
    if id(node) in seen:
        return None
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        return _Object((str(key.value), _plain(value, seen)) for key, value in node.value)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value, seen) for value in node.value]
    return node.value
