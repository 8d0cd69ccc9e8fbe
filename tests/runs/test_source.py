"""Which edits of a user's code count: those of what a class or function is built from, and no others."""

import importlib
import itertools
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from misodice.runs.fingerprint import fingerprint
from misodice.runs.source import source_digest

number = itertools.count()


@contextmanager
def package(files: dict[str, str], folder: Path) -> Iterator[str]:
    """A package of a name of its own, which Python finds; PACKAGE in the files stands for the name."""
    name = f"user_package_{next(number)}"
    for file, text in {"__init__.py": "", **files}.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("PACKAGE", name))
    # An edit within one second that keeps the length would not be seen: Python would run its compiled file.
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield name
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(folder))
        for module in [each for each in sys.modules if each.split(".")[0] == name]:
            del sys.modules[module]


FILES = {
    "model.py": '''"""The model."""
import json
import PACKAGE.by_import
import PACKAGE.by_alias as alias
from PACKAGE.by_name import helper, TABLE
from PACKAGE.by_name import renamed as other_name
from .relative import near
from . import sibling
from PACKAGE.star import *
from PACKAGE import exported
from PACKAGE.bases import Base, decorated

LIMIT = 15
DERIVED = LIMIT_OF_ALL = 25 + 1
FIRST, SECOND = 35, 31
typed: int = 40
GROWING = [50]
GROWING += [51]
if LIMIT:
    def chosen(x):
        return x + 60
else:
    def chosen(x):
        return x + 61
try:
    import absent_package
except ImportError:
    absent_package = 70

def helper_here(x):
    """What it does."""
    return deeper(x) + 80

def deeper(x):
    return x + 81 if x < 5 else helper_here(x - 1)

async def unrelated(x):
    """Of no use."""
    return x + 90

class Tool:
    size = 100
    def use(self, x):
        return x + self.size

@decorated(level=110)
class Model(Base):
    """The model."""
    width = 120
    @property
    def depth(self):
        return 121
    @staticmethod
    def still(x, step=DERIVED):
        return x - step
    def forward(self, x):
        """Forward."""
        from PACKAGE.inside import within
        x = helper_here(x) + helper(x) + other_name(x) + PACKAGE.by_import.far(x) + alias.far(x) + near(x)
        x = x + sibling.near(x) + from_star(x) + exported(x) + within(x) + chosen(x) + absent_package
        x = x + LIMIT + FIRST + typed + GROWING[0] + TABLE["key"](x) + Tool().use(x)  # of all
        return json.dumps([x + 130])

class Child(Model):
    pass
''',
    "by_import.py": "def far(x):\n    return x + 200\n\ndef farther(x):\n    return x + 201\n",
    "by_alias.py": "def far(x):\n    return x + 210\n",
    "by_name.py": """
def helper(x):
    return x + 220

def renamed(x):
    return x + 221

def in_table(x):
    return x + 222

TABLE = {"key": in_table}
UNUSED = 223
""",
    "relative.py": "def near(x):\n    from PACKAGE.model import LIMIT  # a circle\n    return x + LIMIT + 230\n",
    "sibling.py": "from .by_import import farther\n\ndef near(x):\n    return farther(x) + 240\n",
    "star.py": "def from_star(x):\n    return x + 250\n",
    "__init__.py": "def exported(x):\n    from .behind import meant\n    return meant(x)\n",
    "behind.py": "def meant(x):\n    return x + 260\n",
    "bases.py": """
class Root:
    kind = 270

class Base(Root):
    def shared(self, x):
        return x + 271

def decorated(level):
    def wrap(cls):
        cls.level = level + 272
        return cls
    return wrap
""",
    "inside.py": "def within(x):\n    return x + 280\n",
    "unrelated.py": "def nothing(x):\n    return x + 290\n",
}
WITHOUT_EFFECT = {"90", "223", "290"}
"""Numbers in definitions that `Child` is not built from."""
NUMBERS = [(file, text) for file, content in FILES.items() for text in re.findall(r"\d\d+", content)]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Iterator[tuple[type, Path]]:
    """A class built from all of `FILES`, and the folder of its package."""
    folder = tmp_path_factory.mktemp("user")
    with package(FILES, folder) as name:
        yield importlib.import_module(f"{name}.model").Child, folder / name


def edit(path: Path, old: str, new: str, thing: Any) -> tuple[dict[str, str], dict[str, str]]:
    """The digest before and after the edit, which is then undone."""
    text = path.read_text()
    assert text.count(old) == 1, f"{old!r} stands in {path.name} {text.count(old)} times"
    before = source_digest([thing])
    path.write_text(text.replace(old, new))
    after = source_digest([thing])
    path.write_text(text)
    return before, after


@pytest.mark.parametrize(("file", "text"), NUMBERS)
def test_an_edit_counts_wherever_it_is_used(model, file, text):
    before, after = edit(model[1] / file, text, f"{text}0", model[0])
    assert (before != after) == (text not in WITHOUT_EFFECT)
    assert before.keys() == after.keys()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("model.py", "# of all", "# of a few"),
        ("model.py", "  # of all", ""),
        ("model.py", '"""What it does."""', '"""What it did."""'),
        ("model.py", '"""Forward."""', "'Forwards.'"),
        ("model.py", 'class Model(Base):\n    """The model."""', 'class Model(Base):\n    """A model."""'),
        ("model.py", "return deeper(x) + 80", "return (\n        deeper(x)  # deeper\n        + 80\n    )"),
        ("model.py", "def deeper(x):\n", "\n\n\ndef deeper(x):\n\n"),
        ("model.py", 'TABLE["key"]', "TABLE['key']"),
        ("model.py", "import json\n", "import json\nimport math\n"),
        ("model.py", "class Child(Model):\n    pass", "class Child(Model):\n    pass\n\ndef new(x):\n    return x"),
        ("by_name.py", "UNUSED = 223", "UNUSED = None\nASIDE = UNUSED"),
    ],
)
def test_layout_comments_and_docstrings_do_not_count(model, file, old, new):
    before, after = edit(model[1] / file, old, new, model[0])
    assert before == after


def test_a_definition_that_is_named_anew_counts(model):
    old = "x = x + LIMIT"
    for new in (f"{old} + GROWING[-1] + unrelated(1)", f"{old} + len(Tool.__name__)", "x = LIMIT + x"):
        before, after = edit(model[1] / "model.py", old, new, model[0])
        assert before != after
    assert set(after) == set(before)


def test_only_what_is_named_is_listed(model):
    found = {name.partition(".")[2] for name in source_digest([model[0]])}
    assert {"model.Child", "model.Model", "bases.Root", "behind.meant", "by_name.in_table"} <= found
    assert not {"model.unrelated", "by_name.UNUSED", "unrelated.nothing", "model.json"} & found


def test_installed_packages_do_not_count(model):
    assert source_digest([torch.nn.Linear, np.mean, json.dumps, pytest.fixture, dict, len]) == {}
    assert not [name for name in source_digest([model[0]]) if not name.startswith(model[0].__module__.split(".")[0])]


def test_a_file_that_is_gone_or_half_written_is_no_error(model):
    path = model[1] / "inside.py"
    text = path.read_text()
    path.write_text("def within(x:\n")
    broken = source_digest([model[0]])
    path.unlink()
    assert source_digest([model[0]]) == broken
    path.write_text(text)
    assert source_digest([model[0]]) != broken


@dataclass
class Graph:
    """Functions that call others. Calls across modules go to later ones, so that no import is a circle.

    Args:
        module: of each function.
        calls: pairs (caller, called, how it is imported).
    """

    module: list[int]
    calls: list[tuple[int, int, str]]

    def files(self, constants: list[int]) -> dict[str, str]:
        texts = dict.fromkeys(range(max(self.module) + 1), "")
        bodies: list[list[str]] = [[] for _ in self.module]
        for caller, called, how in self.calls:
            here, there, name = self.module[caller], self.module[called], f"f{called}"
            if here == there:
                bodies[caller].append(f"{name}()")
            elif how == "from":
                texts[here] += f"from PACKAGE.m{there} import {name} as g{called}\n"
                bodies[caller].append(f"g{called}()")
            elif how == "relative":
                texts[here] += f"from . import m{there}\n"
                bodies[caller].append(f"m{there}.{name}()")
            elif how == "import":
                texts[here] += f"import PACKAGE.m{there}\n"
                bodies[caller].append(f"PACKAGE.m{there}.{name}()")
            else:
                bodies[caller].append(f"__import__('PACKAGE') and {name}()")
                bodies[caller] = [f"(lambda: {' + '.join(bodies[caller])})()"]
        for function, (module, body) in enumerate(zip(self.module, bodies, strict=True)):
            inside = [
                f"    from .m{self.module[called]} import f{called}\n"
                for caller, called, how in self.calls
                if caller == function and how == "inside" and self.module[called] != module
            ]
            total = " + ".join([str(constants[function]), *body])
            texts[module] += f"def f{function}():\n{''.join(inside)}    return {total}\n"
        return {f"m{module}.py": text for module, text in texts.items()}

    def reached(self) -> set[int]:
        """By function 0."""
        found, waiting = set(), [0]
        while waiting:
            function = waiting.pop()
            if function not in found:
                found.add(function)
                waiting += [called for caller, called, _ in self.calls if caller == function]
        return found


@st.composite
def graphs(draw: Any) -> Graph:
    count = draw(st.integers(2, 7))
    module = sorted(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    module = [each - module[0] for each in module]
    functions = st.integers(0, count - 1)
    hows = st.sampled_from(["from", "relative", "import", "inside"])
    calls = draw(st.lists(st.tuples(functions, functions, hows), max_size=9))
    return Graph(module, [call for call in calls if module[call[0]] <= module[call[1]]])


@settings(max_examples=60)
@given(graph=graphs(), data=st.data())
def test_an_edit_counts_just_if_the_function_can_be_reached(graph, data):
    constants = [10 + function for function in range(len(graph.module))]
    changed = data.draw(st.integers(0, len(constants) - 1))
    with tempfile.TemporaryDirectory() as folder, package(graph.files(constants), Path(folder)) as name:
        function = importlib.import_module(f"{name}.m0").f0
        before = source_digest([function])
        constants[changed] += 100
        for file, text in graph.files(constants).items():
            (Path(folder) / name / file).write_text(text.replace("PACKAGE", name))
        after = source_digest([function])
    assert {int(each.rpartition("f")[2]) for each in before} == graph.reached()
    assert (before != after) == (changed in graph.reached())


TYPED = """
from misodice import Mixer

SCALE = 10

def helper(x):
    return x * 20

class Typed(Mixer):
    "It mixes."
    def forward(self, values, state):
        return helper(values.sum(-1)) * SCALE + 30  # as helper does

class Other:
    size = 40

typed_lambda = lambda x: helper(x) + 50
"""
"""What is typed into a notebook, a console or `python -c`: the module __main__, which has no file."""


@pytest.mark.parametrize(
    ("old", "new", "of_class", "of_lambda"),
    [
        ("30", "31", True, False),
        ("20", "21", True, True),
        ("10", "11", True, False),
        ("40", "41", False, False),
        ("50", "51", False, True),
        ("It mixes.", "It is a mixer.", False, False),
        ("# as helper does", "", False, False),
        ("class Typed", "\n\nclass Typed", False, False),
    ],
)
def test_an_edit_of_what_is_typed_counts(monkeypatch, old, new, of_class, of_lambda):
    prints = []
    for text in (TYPED, TYPED.replace(old, new)):
        module = ModuleType("__main__")
        monkeypatch.setitem(sys.modules, "__main__", module)
        exec(text, vars(module))
        prints.append((fingerprint(module.Typed), fingerprint(module.typed_lambda)))
    before, after = prints
    assert (before[0] != after[0], before[1] != after[1]) == (of_class, of_lambda)


def test_a_lambda_of_a_module_counts(tmp_path):
    files = {"m.py": "mixer = lambda n, s: n + 10\nother = 20\n"}
    with package(files, tmp_path) as name:
        made = importlib.import_module(f"{name}.m").mixer
        before = fingerprint(made)
        path = tmp_path / name / "m.py"
        path.write_text(path.read_text().replace("20", "21"))
        assert fingerprint(made) == before
        path.write_text(path.read_text().replace("10", "11"))
        del sys.modules[f"{name}.m"]
        assert fingerprint(importlib.import_module(f"{name}.m").mixer) != before


def test_a_property_with_a_setter_is_no_edit(tmp_path, caplog):
    both = "@property\n    def x(self):\n        return 1\n\n    @x.setter\n    def x(self, value):\n        pass\n"
    with package({"a.py": f"class A:\n    {both}"}, tmp_path) as name:
        fingerprint(importlib.import_module(f"{name}.a").A)
        assert not caplog.records


def test_old_code_that_runs_after_an_edit_of_its_file_is_told_and_has_a_fingerprint_of_its_own(tmp_path, caplog):
    text = "def f(x):\n    return x + {}\n\n\nclass A:\n    def forward(self, x):\n        return f(x)\n"
    with package({"a.py": text.format(1)}, tmp_path) as name:
        module = importlib.import_module(f"{name}.a")
        before = fingerprint(module.A)
        assert not caplog.records
        (tmp_path / name / "a.py").write_text(text.format(22))
        between = fingerprint(module.A)
        assert "a.py: f was edited after it was imported, and the old code runs" in caplog.text
        importlib.reload(module)
        after = fingerprint(module.A)
        assert len({before, between, after}) == 3
