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
_THOUGHT = r"(?:think|thinking|thoughts?|reasoning|reflection|reflect|analysis|scratchpad)"
_PREFIX = r"(?:\w{1,20}:)?"
_MARK = re.compile(
    # gpt-oss: every channel but the last one is thinking. Without the marks, the names of the channels are left.
    r"(?P<final><\|channel\|>\s*final\b(?:\s*<\|constrain\|>\s*\w+)?(?:\s*<\|message\|>)?|assistantfinal)|"
    r"(?P<channel><\|channel\|>|\A\s*analysis(?=\w))|"
    rf"(?P<close><\|?/{_PREFIX}{_THOUGHT}\s*\|?>|<\|?end_(?:of_)?{_THOUGHT}\|?>|<\|?{_THOUGHT}_end\|?>|"
    r"\[/THINK(?:ING)?\]|◁/think▷)|"
    rf"(?P<open><\|?{_PREFIX}(?:(?:begin|start)_(?:of_)?)?{_THOUGHT}(?:_(?:begin|start))?(?:\s[^<>]{{0,100}})?\|?>|"
    r"\[THINK(?:ING)?\]|◁think▷)",
    re.IGNORECASE,
)
"""Where thinking begins and ends, in the forms that models have for it."""
_NAME = r"[\w ]{1,30}?"
_LABELLED = re.compile(
    rf"(?:the )?(?:final )?(?:{'|'.join(KEYS)})(?: episode)?(?: is)? ?[:=]? ?(?:the )?({_NAME})", re.IGNORECASE
)
_MARKED = re.compile(rf"\\boxed\{{(?:\\text\{{)?({_NAME})\}}|<(?P<tag>answer|winner)>\s*({_NAME})\s*</(?P=tag)>", re.I)
_QUOTES = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "‘": "'", "’": "'", "`": "'", "\t": " "})
MAX_OBJECTS, MAX_ENDS, MAX_OBJECT, MAX_LOOSE = 50, 10, 4000, 20_000
"""How far a text that is no proper JSON is looked through; the last is the number of characters in all."""
MAX_NESTED = 60
"""Brackets in a text that is no proper JSON: YAML's time grows with their square."""
MAX_BRACES = 500
"""Braces that begin no object. A text with more of them is malformed: to try all of them may take a minute."""
_NAMES_IN_TEXT = {
    answer: re.compile(rf"\b(?:{'|'.join(name for name, of in ANSWERS.items() if of == answer)})\b")
    for answer in sorted(set(ANSWERS.values()))
}


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
    `<think>…</think>` and the like is cut away first. Names in several places count only where all say the same. Beside
    a valid `winner`, another key counts only if its value speaks of a winner.
    """
    text = without_reasoning(text)
    names = [_answer(match[1] or match[3]) for match in _MARKED.finditer(text)]
    text = _MARKED.sub(" ", text)
    reasons: list[str] = []
    asked_for: list[Answer] = []
    beside: list[Any] = []
    rest: list[str] = []
    end = 0
    objects = _objects(text)
    if objects is None:
        return Named(problem="malformed")
    for start, stop, pairs in objects:
        rest.append(text[end:start])
        end = stop
        for key, value in pairs:
            if key == "reason":
                reasons.append(value)
            elif key == KEYS[0] and not isinstance(value, _Object):  # of an object in it, the inner keys count
                names.append(_answer(value))
                asked_for += [answer for answer in names[-1:] if answer]
            elif key in KEYS and not isinstance(value, _Object):
                beside.append(value)
    rest.append(text[end:])
    # Such as {"winner": "first", "result": "victory"}.
    names += [_answer(value) for value in beside if not asked_for or _speaks_of_other(value, asked_for[0])]
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
    inside: str | None = None
    for mark in _MARK.finditer(text):
        kind = mark.lastgroup
        if kind in ("open", "channel"):
            if inside is None:
                kept, inside = kept + text[position : mark.start()], kind
        elif kind == "final" or inside != "channel":  # a channel ends only where the final one begins
            if inside is None:
                kept = ""  # it began before the text did, as some chat templates have it
            inside, position = None, mark.end()
    return kept + text[position:] if inside is None else kept


def _answer(value: Any) -> Answer | None:
    """The answer that a value is the name of."""
    if not isinstance(value, str):
        return None
    words = " ".join(re.sub(r"[^\w\s]|_", " ", value).lower().split())
    words = words.removeprefix("the ").removeprefix("a ")
    return ANSWERS.get(words) or ANSWERS.get(words.removesuffix(" episode"))


def _speaks_of_other(value: Any, winner: Answer) -> bool:
    """Whether a value has the name of an answer in it that is not the winner."""
    words = " ".join(re.sub(r"[^\w\s]|_", " ", str(value)).lower().split())
    return any(answer != winner and names.search(words) for answer, names in _NAMES_IN_TEXT.items())


def _labelled(text: str) -> Iterator[Answer]:
    """Answers that stand behind a word such as `Winner:` in a line of their own."""
    for line in text.splitlines():
        labelled = _LABELLED.fullmatch(" ".join(re.sub(r"[*_`\"'“”#>.!]", "", line).split()))
        if labelled and (answer := _answer(labelled[1])):
            yield answer


Pairs = list[tuple[str, Any]]


def _objects(text: str) -> list[tuple[int, int, Pairs]] | None:
    """Where each outermost object begins and ends, and all its keys (in lower case) with their values.

    None for a text with too many braces that begin no object.
    """
    objects: list[tuple[int, int, Pairs]] = []
    position = tried = 0
    allowed = MAX_LOOSE
    decoder = json.JSONDecoder(object_pairs_hook=_Object, strict=False)
    while (start := text.find("{", position)) >= 0:
        position = start + 1
        try:
            value, stop = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            tried += 1
            if tried > MAX_BRACES:
                return None
            found, read = _loose(text, start, allowed) if tried <= MAX_OBJECTS else (None, 0)
            allowed -= read
            if found is None:
                continue
            value, stop = found
        objects.append((start, stop, list(_pairs(value))))
        position = stop
    return objects


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


def _loose(text: str, start: int, allowed: int) -> tuple[tuple[Any, int] | None, int]:
    """An object that is JSON but for its quotes or a comma, read as YAML's flow form, and how much was read for it.

    At most `allowed` characters are read.
    """
    stop, read = start, 0
    for _ in range(MAX_ENDS):
        stop = text.find("}", stop) + 1
        if not stop or stop - start > min(MAX_OBJECT, allowed - read):
            break
        if sum(map(text.count, "{[", (start, start), (stop, stop))) > MAX_NESTED:
            break
        read += stop - start
        try:
            node = yaml.compose(text[start:stop].translate(_QUOTES), Loader=yaml.SafeLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            continue
        if isinstance(node, yaml.MappingNode):
            return (_plain(node, set()), stop), read
    return None, read


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
