"""What a part remembers, and the fingerprint of an object."""

import copy
import enum
import inspect
import json
import os
import pickle
import random
import re
import subprocess
import sys
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

import misodice
from misodice import AgentMLP, CategoricalHead, Data, HyperMixer, Part, QMIXMixer, Rollout, VDNMixer
from misodice.data.importers import Importer
from misodice.envs import Actor
from misodice.errors import MisodiceError
from misodice.labelling import Describer, UnitDescriber
from misodice.modules import OMAPL, ByEpisode, Policy, RewardModel, RewardStage, TopP, Value
from misodice.runs.fingerprint import fingerprint
from misodice.runs.parts import Part as Base, build, config_of, constructors, import_class, parameters_of, same_option

ROOT = Path(__file__).parents[2]


def below(cls: type) -> list[type]:
    return [each for child in cls.__subclasses__() for each in (child, *below(child))]


def built_in() -> list[type]:
    """Every part of misodice's own that a config can name, and the two blocks of options."""
    for name in dir(misodice):
        getattr(misodice, name)
    parts = [each for each in dict.fromkeys(below(Base)) if each.__module__.startswith("misodice.")]
    # Actors and importers are made with an environment or a file, which no fingerprint covers.
    parts = [each for each in parts if not inspect.isabstract(each) and not issubclass(each, (Actor, Importer))]
    return [*parts, Data, Rollout]


class Words(Describer):
    """A user's describer."""

    wording = 1

    def describe(self, episodes, max_tokens):
        return str


OTHERS = {
    "mixer": QMIXMixer,
    "network": partial(AgentMLP, hidden=(8,)),
    "weighting": [ByEpisode()],
    "head": CategoricalHead,
    "labeller": misodice.OracleLabeller(),
    "describer": Words(),
    "partition": "3x1",
    "layout": None,
    "agent_obsk": 1,
    "minibatches": 4,
    "template": str(ROOT / "misodice" / "labelling" / "llm" / "prompts" / "pair.jinja"),
    "parameters": {"seed": 1},
    "price": (1.0, 2.0),
    "budget": 3.0,
    "base_url": "http://localhost:8000/v1",
    "query": {"api-version": "2024-10-21"},
    "ranking": "oracle",
}
"""Another value, where its kind does not tell."""
GIVEN = {"path": "answers.jsonl", "mask_last": False}
"""Arguments that must be named, and one beside which every `objective` is allowed."""


def another(name: str, value: Any, annotation: Any) -> Any:
    if name in OTHERS:
        return OTHERS[name]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.25
    choices = [each for each in get_args(annotation) if isinstance(each, str) and each != value]
    return choices[0] if choices else f"{value or ''}another"


def options_of(part: type) -> dict[str, Any]:
    if is_dataclass(part):
        return {each.name: each.default for each in fields(part)}
    return {name: GIVEN.get(name, parameter.default) for name, parameter in parameters_of(part).items()}


def annotation_of(part: type, name: str) -> Any:
    if is_dataclass(part):
        return get_type_hints(part)[name]
    return next(get_type_hints(by.__init__)[name] for by, parameter in constructors(part) if parameter.name == name)


@pytest.mark.parametrize("part", built_in(), ids=lambda part: part.__name__)
def test_any_argument_of_any_part_changes_its_fingerprint(part):
    options = options_of(part)
    found = {fingerprint(part(**options)): "as it is"}
    assert fingerprint(part(**options)) in found, "the same twice"
    for name, value in options.items():
        changed = fingerprint(part(**options | {name: another(name, value, annotation_of(part, name))}))
        assert changed not in found, f"{name} changes as little as {found[changed]}"
        found[changed] = name


def test_two_classes_with_the_same_options_differ():
    assert len({fingerprint(part(**options_of(part))) for part in built_in()}) == len(built_in())


class Plain:
    """A user's class that is no part."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Slots:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Own(Part):
    """A user's part whose argument does not stay as an attribute."""

    def __init__(self, first: Any, *, second: Any = 2) -> None:
        self.both = f"{first} {second}"

    def method(self) -> str:
        return self.both


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Options:
    a: Any
    b: Any = 0


def adding(number: Any) -> Any:
    def add(other: Any) -> Any:
        return number + other

    return add


def ring(content: Any) -> Plain:
    one, two = Plain(content=content), Plain()
    one.other, two.other, two.list = two, one, [one, two]
    return one


def endless(content: Any) -> list[Any]:
    made: list[Any] = [content]
    made.append(made)
    return made


def recursive(number: int) -> Any:
    def count(steps: int) -> int:
        return number if steps == 0 else count(steps - 1)

    return count


def drawn(seed: int) -> np.random.Generator:
    generator = np.random.default_rng(seed)
    generator.random()
    return generator


MAKERS: dict[str, Any] = {
    "plain object": lambda x: Plain(a=x, b=[x, {"c": (x,)}]),
    "slots": lambda x: Slots(x, 1),
    "part": lambda x: Own(x),
    "part by keyword": lambda x: Own(0, second=x),
    "method": lambda x: Own(x).method,
    "part within a part": lambda x: Value(network=partial(AgentMLP, hidden=(8, x))),
    "weightings": lambda x: Policy(weighting=[ByEpisode(), TopP(1 / (1 + x))]),
    "dataclass": lambda x: Options(x),
    "enum": lambda x: [Colour.RED, Colour.BLUE][x % 2],
    "partial": lambda x: partial(HyperMixer, hidden=x),
    "partial of a partial": lambda x: partial(partial(AgentMLP, outputs=2), hidden=(x,)),
    "partial of a function": lambda x: partial(adding, x),
    "closure": lambda x: adding(x),
    "closure of an object": lambda x: adding(Plain(a=x)),
    "closure of itself": lambda x: recursive(x),
    "cycle": lambda x: ring(x),
    "cycle in a list": lambda x: endless(x),
    "array": lambda x: np.arange(x + 3.0),
    "array in an object": lambda x: Plain(a={"b": np.full((2, 2), x)}),
    "array of objects": lambda x: np.array([{"a": x}, None], dtype=object),
    "tensor": lambda x: torch.arange(x + 3),
    "network": lambda x: torch.nn.Linear(2, x + 1, bias=False).requires_grad_(False).apply(zero),
    "set": lambda x: {f"a{x}", "b", "c", "d", "e"},
    "frozen set in an object": lambda x: Plain(a=frozenset(["x", "y", "z", str(x)])),
    "numbers of numpy": lambda x: [np.float32(x), np.int64(x), np.bool_(True)],
    "path": lambda x: Path("folder") / str(x),
    "regular expression": lambda x: re.compile(f"a{{{x}}}"),
    "ordered": lambda x: OrderedDict(b=x, a=1),
    "deque": lambda x: deque([x, 1], maxlen=5),
    "generator of numpy": lambda x: drawn(x),
    "generator of Python": lambda x: random.Random(x),
    "bytes": lambda x: b"abc" * (x + 1),
}
"""Two numbers make two objects; they are made anew in another process."""


def zero(module: torch.nn.Module) -> None:
    if isinstance(module, torch.nn.Linear):
        torch.nn.init.zeros_(module.weight)


def fingerprints() -> dict[str, list[str]]:
    return {name: [fingerprint(make(number)) for number in (1, 2)] for name, make in MAKERS.items()}


@pytest.mark.parametrize("name", MAKERS)
def test_an_object_is_told_from_another_and_not_from_its_like(name):
    make = MAKERS[name]
    one, two = fingerprint(make(1)), fingerprint(make(2))
    assert one != two
    assert [fingerprint(make(1)), fingerprint(make(2))] == [one, two]
    value = make(1)
    assert fingerprint(value) == fingerprint(value) == one, "describing an object leaves it as it is"


def test_another_process_gives_the_same_fingerprints():
    program = "import json; from tests.runs.test_parts import fingerprints; print(json.dumps(fingerprints()))"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"  # sets and their like come in another order
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == fingerprints()


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.builds(Options, inner, inner)
        | st.builds(Own, inner)
        | st.builds(partial, st.just(Options), inner)
        | st.builds(adding, inner)
    ),
    max_leaves=12,
)


@given(values)
def test_options_of_any_shape_are_described_as_plain_values(value):
    described = config_of(value)
    assert json.loads(json.dumps(described)) == described
    assert config_of(value) == described
    assert fingerprint(value) == fingerprint(value)


@given(values)
def test_a_copy_has_the_same_fingerprint(value):
    assert fingerprint(copy.deepcopy(value)) == fingerprint(value)


json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
)


@given(json_values, json_values)
def test_two_plain_values_differ_in_their_fingerprints(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint(one) == fingerprint(other)) == same


@given(st.lists(st.integers() | st.text(max_size=3), max_size=5))
def test_the_order_of_a_mapping_does_not_count(keys):
    mapping = {str(key): key for key in keys}
    turned = dict(reversed(mapping.items()))
    assert fingerprint(mapping) == fingerprint(turned)


def test_a_part_is_described_by_its_arguments_with_their_defaults():
    assert config_of(Own(1)) == config_of(Own(1, second=2)) == config_of(Own(first=1))
    assert fingerprint(Value()) == fingerprint(Value(alpha=0.05)) == fingerprint(Value(HyperMixer, AgentMLP, 0.05))
    assert fingerprint(Value(network=partial(AgentMLP, hidden=(256, 256)))) == fingerprint(Value())
    assert fingerprint(OMAPL(lr=1e-3)) == fingerprint(OMAPL(**{"lr": 1e-3}))


def test_a_part_is_built_again_from_its_description():
    for part in (
        Value(mixer=VDNMixer, network=partial(AgentMLP, hidden=(8, 4)), alpha=0.5),
        Policy(weighting=[ByEpisode(), TopP(0.5)], head=CategoricalHead, lr_schedule="cosine"),
        RewardModel(regulariser=0.25, lr=0.125),
    ):
        again = build(Part, json.loads(json.dumps(config_of(part))), "here")
        assert type(again) is type(part)
        assert config_of(again) == config_of(part)
        assert fingerprint(again) == fingerprint(part)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda part: pickle.loads(pickle.dumps(part))])
@pytest.mark.parametrize("part", [Own(1, second=3), TopP(0.5), UnitDescriber(2), Value(alpha=0.25)])
def test_a_copied_part_is_described_as_the_original(part, copied):
    assert config_of(copied(part)) == config_of(part)
    assert fingerprint(copied(part)) == fingerprint(part)


def unfinished() -> Any:
    yield 1


@pytest.mark.parametrize("value", [threading.Lock(), unfinished(), Plain(a=[threading.Lock()]), sys._getframe()])
def test_what_cannot_be_told_apart_is_refused(value):
    with pytest.raises(MisodiceError, match=r"cannot be told from another one .* __getstate__ .* misodice.Part"):
        fingerprint({"callback": value})


def test_an_open_file_is_refused(tmp_path):
    with (tmp_path / "x").open("w") as file, pytest.raises(MisodiceError, match="cannot be told"):
        fingerprint(Own(file))


def test_same_option():
    for name in ("regulariser", "pairs", "max_steps", "patience", "lr", "epochs"):
        assert same_option(name, OMAPL, RewardModel), name
        assert same_option(name, RewardModel, RewardStage), name
    for name in ("mixer", "network", "gamma", "beta", "absent"):
        assert not same_option(name, OMAPL, RewardModel), name
    assert not same_option("hidden", HyperMixer, QMIXMixer)
    assert not same_option("lr", Value, Policy)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("no.such.Part", "No module named 'no'"),
        ("misodice.modules.Absent", "has no attribute 'Absent'"),
        ("Absent", "No misodice attribute Absent"),
        ("", "cannot be imported"),
        ("misodice.modules.TopP", "expected a subclass of misodice.modules.value.Value"),
        ("misodice.runs.parts.build", "expected a subclass"),
    ],
)
def test_a_class_path_that_names_no_such_class(path, words):
    with pytest.raises(MisodiceError, match=r"^--value: ") as error:
        import_class(path, Value, "--value")
    assert words in str(error.value)


def test_a_built_in_class_is_found_by_its_name_alone():
    assert import_class("Value", Value, "--value") is import_class("misodice.Value", Value, "--value") is Value


def test_a_description_with_a_wrong_argument():
    for options in ({"alfa": 1}, {"alpha": "much"}):
        with pytest.raises(MisodiceError, match=r"^x\.ckpt: "):
            build(Value, {"class_path": "misodice.Value", "init_args": options}, "x.ckpt")
