"""Limits of options, where they are stated and who has them."""

import copy
import math
from functools import partial

import pytest
from hypothesis import given

from misodice.errors import MisodiceError
from misodice.modules import AgentMLP, HyperMixer, QMIXMixer, Value
from misodice.runs.limits import (
    COUNT,
    NOT_NEGATIVE,
    PART,
    PATH,
    POSITIVE,
    SEED,
    SHARE,
    SIZE,
    TEXT,
    TRUTH,
    WIDTHS,
    limited,
    limits_of,
    one_of,
    or_none,
)
from tests.helpers.options import ANYTHING

EVERY = [COUNT, NOT_NEGATIVE, PART, PATH, POSITIVE, SEED, SHARE, SIZE, TEXT, TRUTH, WIDTHS, one_of("a"), or_none(COUNT)]


@pytest.mark.parametrize(
    ("limit", "held", "refused"),
    [
        (COUNT, [1, 10**30], [0, -1, 1.0, True, "1", None, math.nan]),
        (SIZE, [1, 10**9], [0, 10**9 + 1]),
        (SEED, [0, 2**32 - 1], [-1, 2**32, 0.5, False]),
        (POSITIVE, [1e-300, 3, 10**400], [0, 0.0, -0.0, -1, math.nan, math.inf, "1", True, None]),
        (NOT_NEGATIVE, [0, 0.5], [-1e-9, math.inf, math.nan]),
        (SHARE, [0, 1, 0.5], [-0.1, 1.1, math.nan]),
        (PART, [0, 0.99], [1, 1.0, 1.5]),
        (WIDTHS, [[1], (64, 3)], [[], (), [0], [-3], [1.5], [True], 64, "64", None]),
        (TRUTH, [True, False], [0, 1, "no", None]),
        (TEXT, ["a"], ["", " ", None, 3]),
        (or_none(COUNT), [None, 1], [0]),
    ],
)
def test_a_limit_holds_what_it_says(limit, held, refused):
    assert all(limit.holds(value) for value in held)
    assert not any(limit.holds(value) for value in refused)


@given(value=ANYTHING)
def test_no_value_makes_a_limit_raise(value):
    for limit in EVERY:
        assert limit.holds(value) in (True, False)


class Handed(Value):
    """Hands on all options, and states one of its own."""

    @limited(clip=POSITIVE)
    def __init__(self, clip: float = 1.0, **options) -> None:
        super().__init__(**options)


class Computed(Value):
    """Computes an option of its base class."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__(alpha=strength - 2)


def test_subclasses_have_the_limits_of_what_they_hand_on():
    for make, words in (
        (lambda: Handed(alpha=-1), "value.alpha: found -1, expected a number from 0 to 1000000"),
        (lambda: Handed(clip=0), "value.clip: found 0, expected a finite number greater than 0"),
        (lambda: Handed(lr=math.nan), "value.lr: found nan"),
        (lambda: Computed(), "value.alpha: found -1.0"),
    ):
        with pytest.raises(MisodiceError, match="^" + words):
            make()
    assert Handed(clip=2.0, alpha=1).alpha == 1
    assert copy.deepcopy(Handed(alpha=3.0)).alpha == 3.0
    assert {"clip", "alpha", "lr", "epochs"} > set(limits_of(Handed)) - set(limits_of(Value)) == {"clip"}


def test_what_is_made_later_is_checked_at_once():
    for option, make in (
        ("value.mixer.hidden", lambda: Value(mixer=partial(HyperMixer, hidden=0))),
        ("value.mixer.hidden", lambda: Value(mixer=partial(QMIXMixer, hidden=-1))),
        ("value.network.hidden", lambda: Value(network=partial(AgentMLP, hidden=()))),
        ("HyperMixer.hidden", lambda: HyperMixer(2, 3, hidden=0)),
        ("AgentMLP.hidden", lambda: AgentMLP(2, 3, 1, hidden=(4, 0))),
    ):
        with pytest.raises(MisodiceError, match=f"^{option}: found "):
            make()


def test_too_many_arguments_are_pythons_to_refuse():
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Value(colour="red")
