"""What tells a labeller's answers from another's: class, options and source, the same in every process."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.labelling.conftest import write_battles

JUDGE = """
import re

from misodice.labelling import Labeller

MARGIN = 2


class Taste:
    def __init__(self, words, weight):
        self.words, self.weight = frozenset(words), weight

    def worth(self, length):
        return self.weight * length


def beyond(difference):
    # The comparison.
    return abs(difference) > MARGIN


class Judge(Labeller):
    def __init__(self, pattern: re.Pattern, taste: Taste) -> None:
        self.pattern, self.taste = pattern, taste

    def compare(self, episodes, first, second):
        difference = self.taste.worth(episodes.length[first]) - self.taste.worth(episodes.length[second])
        if not beyond(difference):
            return "tie"
        return "first" if difference > 0 else "second"
"""

SCRIPT = """
import re, sys
from pathlib import Path
from rich.console import Console
from misodice.data.episodes import Episodes
from misodice.labelling import LabelJob, Labels
from judge import Judge, Taste
labels = Labels(Judge(re.compile(sys.argv[2], re.IGNORECASE), Taste(["dead", "alive", "won"], 1.5)), n_pairs=20)
job = LabelJob(labels, Episodes.read(sys.argv[1]), "digest", Path("run"), None, True, Console())
print(job.fingerprint)
"""


@pytest.fixture
def folder(tmp_path):
    write_battles(tmp_path / "battles.h5", 10)
    (tmp_path / "judge.py").write_text(JUDGE)
    return tmp_path


def mark(folder: Path, pattern: str = "ally_[0-9]", hash_seed: int = 1) -> str:
    python_path = os.pathsep.join([str(folder), *sys.path])
    env = {**os.environ, "PYTHONPATH": python_path, "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", SCRIPT, "battles.h5", pattern]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"[0-9a-f]{16}\n", done.stdout)
    return done.stdout


def test_an_object_is_the_same_in_every_process(folder):
    assert mark(folder, hash_seed=1) == mark(folder, hash_seed=2)
    assert mark(folder) != mark(folder, pattern="enemy_[0-9]")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('return "tie"', 'return "first"'),
        ("abs(difference) > MARGIN", "abs(difference) >= MARGIN"),
        ("MARGIN = 2", "MARGIN = 3"),
        ("self.weight * length", "self.weight + length"),
    ],
    ids=["method", "function", "constant", "class of an option"],
)
def test_an_edit_of_the_source_changes_it(folder, old, new):
    before = mark(folder)
    assert JUDGE.count(old) == 1
    (folder / "judge.py").write_text(JUDGE.replace(old, new))
    assert mark(folder) != before


def test_a_comment_does_not_change_it(folder):
    before = mark(folder)
    (folder / "judge.py").write_text(JUDGE.replace("# The comparison.", "# What decides."))
    assert mark(folder) == before
