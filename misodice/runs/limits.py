"""What the value of an option may be: one way to state it in a constructor, and one message."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from misodice.errors import MisodiceError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Limit:
    """What a value may be.

    Args:
        words: the same for people, such as "a number greater than 0".
        holds: whether a value is allowed. It must not raise, whatever the value is.
    """

    words: str
    holds: Callable[[Any], bool]


def whole(least: int, most: int | None = None) -> Limit:
    """A whole number from `least` to `most`."""
    words = f"a whole number, at least {least}" if most is None else f"a whole number from {least} to {most}"
    return Limit(words, lambda value: _is_whole(value) and least <= value and (most is None or value <= most))


def number(words: str, least: float = -math.inf, most: float = math.inf, without: Sequence[float] = ()) -> Limit:
    """A finite number from `least` to `most`, but none of `without`."""
    return Limit(
        words,
        # Not math.isfinite: a whole number may be too large for a float.
        lambda value: (
            _is_number(value) and least <= value <= most and -math.inf < value < math.inf and value not in without
        ),
    )


def one_of(*words: str) -> Limit:
    """One of some words."""
    return Limit(f"one of {', '.join(map(repr, words))}", lambda value: isinstance(value, str) and value in words)


def or_none(limit: Limit) -> Limit:
    """What `limit` allows, and None."""
    return Limit(f"{limit.words}, or null", lambda value: value is None or limit.holds(value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


COUNT = whole(1)
"""How many, where none would make no sense."""
SIZE = whole(1, 10**9)
"""Of a batch: what is more than any data does not fit into 64 bits when it is multiplied."""
SEED = whole(0, 2**32 - 1)
"""What NumPy, torch and Lightning all take."""
POSITIVE = number("a finite number greater than 0", 0.0, without=[0.0])
NOT_NEGATIVE = number("a finite number, at least 0", 0.0)
FACTOR = number("a number from 0 to 1000000", 0.0, 1e6)
"""Of a term of a loss: more would overflow 32 bits."""
SHARE = number("a share from 0 to 1", 0.0, 1.0)
PART = number("a share, at least 0 and less than 1", 0.0, 1.0, without=[1.0])
"""A share that leaves something."""
AT_LEAST_1 = Limit("a number, at least 1 (.inf is no limit)", lambda value: _is_number(value) and value >= 1)
TRUTH = Limit("true or false", lambda value: isinstance(value, bool))
PATH = Limit("a path", lambda value: isinstance(value, (str, Path)) and bool(str(value).strip()))
TEXT = Limit("a word", lambda value: isinstance(value, str) and bool(value.strip()))
WIDTHS = Limit(
    "a list of whole numbers, each at least 1, with at least one of them",
    lambda value: isinstance(value, (list, tuple)) and len(value) > 0 and all(_is_whole(w) and w >= 1 for w in value),
)


def check_limits(block: str, limits: Mapping[str, Limit], values: Mapping[str, Any]) -> None:
    """Raise a MisodiceError for the first value outside of its limit.

    Args:
        block: where the options stand, such as "value"; an empty one is none.
        limits: by the option's name.
        values: by the option's name.
    """
    for name, limit in limits.items():
        if name in values and not limit.holds(values[name]):
            option = f"{block}.{name}" if block else name
            raise MisodiceError(f"{option}: found {values[name]!r}, expected {limit.words}")


def limited(block: str | None = None, **limits: Limit) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator of a constructor: its arguments are held against their limits before it runs.

    A subclass that hands its arguments on by `super().__init__` has the same limits.

    Example:
        >>> class Mine(Value):
        ...     @limited(clip=POSITIVE)
        ...     def __init__(self, clip: float = 1.0, **options: Any) -> None:

    Args:
        block: where the options stand in a config; None is a stage's name, or else the name of the class.
        limits: by the argument's name.
    """

    def decorate(init: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(init)

        @wraps(init)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:  # too many arguments or too few: Python says so itself
                return init(*args, **kwargs)
            check_limits(block or _block_of(type(args[0])), limits, given)
            return init(*args, **kwargs)

        checked.limits = limits  # type: ignore[attr-defined]
        return checked

    return decorate


def limits_of(cls: type) -> dict[str, Limit]:
    """The limits of a class's constructor, by the argument's name: its own, and those of what it hands on to."""
    found: dict[str, Limit] = {}
    for each in cls.__mro__:
        init = vars(each).get("__init__")
        if init is None:
            continue
        found = getattr(init, "limits", {}) | found
        kinds = [parameter.kind for parameter in inspect.signature(init).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found


def _block_of(owner: type) -> str:
    # A stage's name is that of its block; other classes stand in several places.
    name = getattr(owner, "name", None)
    return name if isinstance(name, str) and name else owner.__name__
