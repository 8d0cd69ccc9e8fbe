"""A user edits a part of their own: what is built from it is trained again, and nothing else."""

import importlib
import json
import sys
from pathlib import Path

import pytest

from misodice.cli.main import main
from misodice.rollout.collect import collect
from tests.helpers.cli import SMALL
from tests.helpers.tiny_engine import Tiny

STAGES = ("preference", "discriminator", "value", "policy")
MIXER = '''"""A mixer."""

from misodice import Mixer
from my_numbers import scale


class MyMixer(Mixer):
    """A sum."""

    def forward(self, values, state):
        return scale(values.sum(dim=-1))  # of all agents
'''
NUMBERS = "def scale(x):\n    return x * 1.0\n"


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A user's folder, with a mixer that calls a function of another file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("my_mixer.py").write_text(MIXER)
    Path("my_numbers.py").write_text(NUMBERS)
    collect(Tiny(), Tiny().default_sources(), "tiny.h5", seed=0)
    yield tmp_path
    forget()


def forget() -> None:
    """The next import reads the files again, as a new process does."""
    for module in ("my_mixer", "my_numbers"):
        sys.modules.pop(module, None)
    importlib.invalidate_caches()


def run(capsys, *more: str, status: int = 0) -> str:
    """What a run of the command line prints."""
    forget()
    capsys.readouterr()
    env = ["--env", "tests.helpers.tiny_engine.Tiny", "--data.path", "tiny.h5", "--run_dir", "run"]
    assert main(["fit", *env, "--value.mixer", "my_mixer.MyMixer", *SMALL, *more]) == status
    return capsys.readouterr().out


def trained(capsys, *more: str) -> list[str]:
    """The stages that a run of the command line trains."""
    before = finished()
    printed = run(capsys, *more)
    after = finished()
    new = [stage for stage in after if after[stage] != before.get(stage)]
    assert [stage for stage in after if f"{stage}: up to date" in printed] == [
        each for each in after if each not in new
    ]
    return new


def finished() -> dict[str, int]:
    records = {stage: Path("run", stage, "stage.json") for stage in STAGES}
    return {stage: path.stat().st_mtime_ns for stage, path in records.items() if path.is_file()}


def edit(file: str, old: str, new: str) -> None:
    text = Path(file).read_text()
    assert old in text
    Path(file).write_text(text.replace(old, new))


@pytest.mark.usefixtures("project")
def test_an_edit_trains_again_what_is_built_from_it(capsys):
    assert trained(capsys) == list(STAGES)
    first = json.loads(Path("run/summary.json").read_text())["fingerprint"]
    edit("my_mixer.py", "  # of all agents", "\n")
    edit("my_mixer.py", "A sum.", "The sum.")
    assert trained(capsys) == []
    edit("my_mixer.py", "values.sum(dim=-1)", "values.mean(dim=-1)")
    assert trained(capsys) == ["value", "policy"], "the mixer is the value stage's alone"
    second = json.loads(Path("run/summary.json").read_text())["fingerprint"]
    edit("my_numbers.py", "1.0", "2.0")
    assert trained(capsys) == ["value", "policy"], "a function of another file, which the mixer calls"
    third = json.loads(Path("run/summary.json").read_text())["fingerprint"]
    assert len({first, second, third}) == 3
    # What no fingerprint can see, such as a file that is read at run time, has an option.
    assert trained(capsys, "--retrain", "value") == ["value", "policy"]
    assert trained(capsys, "--retrain", '["discriminator"]') == ["discriminator", "value", "policy"]
    assert trained(capsys) == []
    assert json.loads(Path("run/summary.json").read_text())["fingerprint"] == third
    run(capsys, "--retrain", "valu", status=2)


@pytest.mark.usefixtures("project")
def test_a_checkpoint_of_edited_code_is_not_gone_on_from(capsys):
    oracle = ["--data.ranking", "oracle"]  # so that D_E is the same however long the preference stage trains
    assert trained(capsys, *oracle) == ["discriminator", "value", "policy"]
    edit("my_mixer.py", "values.sum(dim=-1)", "values.mean(dim=-1)")
    printed = run(capsys, *oracle, "--trainer.max_epochs", "3", "--ckpt_path", "last")
    assert "discriminator: going on from run/discriminator/last.ckpt" in printed
    for stage in ("value", "policy"):
        assert f"run/{stage}/last.ckpt is of another config or input; training anew" in printed
