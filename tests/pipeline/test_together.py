"""Minibatches that are trained on in one go: how many, and that a run is the same."""

import csv
import json
import signal
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint, TQDMProgressBar

from misodice.errors import MisodiceError
from misodice.modules import OMAPL, AgentMLP, CloneWeights, Discriminator, Policy, Value
from misodice.pipeline.together import ON_A_GPU, minibatches_of
from misodice.pipeline.trainers import TrainerOptions
from tests.helpers.tiny_run import experiment

SMALL = {"network": partial(AgentMLP, hidden=(8,)), "epochs": 2}


def assert_equal_runs(one: Path, other: Path) -> None:
    with h5py.File(one / "columns.h5") as ours, h5py.File(other / "columns.h5") as theirs:
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name][:], theirs[name][:])
    checkpoints = sorted(path.relative_to(one) for path in one.rglob("*.ckpt"))
    assert checkpoints == sorted(path.relative_to(other) for path in other.rglob("*.ckpt"))
    for path in checkpoints:
        ours, theirs = (torch.load(run / path, weights_only=True) for run in (one, other))
        for each in (ours, theirs):  # says where the best one is
            del each["callbacks"]
        assert_equal(ours, theirs, str(path))
    for stage in one.glob("*/stage.json"):
        ours, theirs = (json.loads(path.read_text()) for path in (stage, other / stage.relative_to(one)))
        assert all(ours[name] == theirs[name] for name in ("fingerprint", "steps", "metrics"))
    ours, theirs = (json.loads((run / "summary.json").read_text())["rollout"] for run in (one, other))
    assert ours == theirs


def assert_equal(ours: object, theirs: object, where: str) -> None:
    """Of nested contents of checkpoints."""
    if isinstance(ours, dict):
        assert set(ours) == set(theirs), where
        for name in ours:
            assert_equal(ours[name], theirs[name], f"{where} {name}")
    elif isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(one, other, f"{where} {index}")
    elif isinstance(ours, torch.Tensor):
        assert torch.equal(ours, theirs), where
    else:
        assert ours == theirs, where


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_the_same_however_many_come_together(tiny_file, tmp_path):
    for together in (1, 4):
        stages = {"preference": OMAPL(pairs=8, **SMALL), "policy": Policy(lr_schedule="cosine", **SMALL)}
        parts = {"data": {"batch_size": 16, "minibatches": together}, "discriminator": Discriminator(**SMALL), **stages}
        experiment(tiny_file, tmp_path / str(together), **parts).fit()
    assert_equal_runs(tmp_path / "4", tmp_path / "1")
    assert rows(tmp_path / "4") == rows(tmp_path / "1")
    # So a finished run is not made again for the other number.
    experiment(tiny_file, tmp_path / "4", **parts | {"data": {"batch_size": 16}}).fit()


class Interrupted(Value):
    """Ctrl-C after a step, the first time.

    Args:
        step: its number.
        once: file that says it happened.
        options: those of Value.
    """

    def __init__(self, step: int = -1, once: str = "", **options) -> None:
        super().__init__(**options)
        self.step, self.once = step, once

    def after_step(self) -> None:
        if self.trainer.global_step == self.step and not Path(self.once).exists():
            Path(self.once).touch()
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("sigint")
def test_an_interrupted_run_goes_on_with_any_number(tiny_file, tmp_path):
    def run(folder: str, together: int, once: str, **options) -> None:
        value = Interrupted(20, str(tmp_path / once), **SMALL)
        data = {"batch_size": 16, "minibatches": together, "ranking": "oracle"}
        parts = {"discriminator": Discriminator(**SMALL), "policy": Policy(**SMALL), "value": value}
        experiment(tiny_file, tmp_path / folder, data=data, **parts).fit(**options)

    (tmp_path / "never").touch()
    run("whole", 1, "never")
    # The interruption's own place is no option of the others.
    for before, after in ((4, 4), (4, 1), (1, 3)):
        folder = f"{before}_{after}"
        with pytest.raises(KeyboardInterrupt):
            run(folder, before, folder + "_once")
        stopped = torch.load(tmp_path / folder / "value" / "last.ckpt", weights_only=True)
        assert stopped["global_step"] in range(20, 24)
        assert stopped["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] % 13
        run(folder, after, folder + "_once", ckpt_path="last")
        with h5py.File(tmp_path / folder / "columns.h5") as ours, h5py.File(tmp_path / "whole" / "columns.h5") as whole:
            for name in whole:
                np.testing.assert_array_equal(ours[name][:], whole[name][:])
        kept = [torch.load(tmp_path / each / "value" / "last.ckpt", weights_only=True) for each in (folder, "whole")]
        assert kept[0]["global_step"] == kept[1]["global_step"]
        assert_equal(kept[0]["optimizer_states"], kept[1]["optimizer_states"], folder)
        value_rows = [[row for row in rows(tmp_path / each) if row["stage"] == "value"] for each in (folder, "whole")]
        assert value_rows[0] == value_rows[1]


class OwnStep(Policy):
    """A user's own, which looks at each step."""

    def on_before_optimizer_step(self, optimizer):
        pass


class OwnLoss(Policy):
    """A user's own, which is trained like any other."""

    def loss(self, batch):
        return super().loss(batch)


class EachBatch(Callback):
    def on_train_batch_end(self, *_):
        pass


HARMLESS = [ModelCheckpoint(), EarlyStopping("policy/loss"), TQDMProgressBar()]


@pytest.mark.parametrize(
    ("stage", "options", "why"),
    [
        (Policy(), {"callbacks": HARMLESS, "limit_train_batches": 5}, None),
        (OwnLoss(), {"limit_train_batches": 1.0, "val_check_interval": 1.0}, None),
        (OwnStep(), {}, "OwnStep of policy has a on_before_optimizer_step of its own"),
        (Policy(), {"gradient_clip_val": 1.0}, "trainer.gradient_clip_val is set"),
        (Policy(), {"accumulate_grad_batches": 2}, "trainer.accumulate_grad_batches is more than 1"),
        (Policy(), {"limit_train_batches": 0.5}, "trainer.limit_train_batches is a share of an epoch"),
        (Policy(), {"val_check_interval": 0.5}, "trainer.val_check_interval is a share of an epoch"),
        (Policy(), {"callbacks": EachBatch()}, "the callback EachBatch has on_train_batch_end"),
        (Policy(), {"callbacks": [LearningRateMonitor()]}, "the callback LearningRateMonitor has on_train_batch_start"),
        (Policy(), {"callbacks": ModelCheckpoint(every_n_train_steps=9)}, "the callback ModelCheckpoint counts steps"),
        (Policy(), {"devices": 2}, "several processes share each step"),
    ],
)
def test_what_needs_each_step_by_itself(stage, options, why):
    trainer = TrainerOptions({"accelerator": "cpu", **options}, stages=[stage])
    assert minibatches_of(stage, None, trainer, "cpu") == (1, None)
    assert minibatches_of(stage, 1, trainer, "cuda") == (1, None)
    if why is None:
        assert minibatches_of(stage, None, trainer, "cuda") == (ON_A_GPU, None)
        assert minibatches_of(stage, 3, trainer, "cpu") == (3, None)
        return
    assert minibatches_of(stage, None, trainer, "cuda") == (1, why)
    with pytest.raises(MisodiceError, match=f"data.minibatches: found 3, expected 1 or null: {why}"):
        minibatches_of(stage, 3, trainer, "cpu")
    assert minibatches_of(CloneWeights(), 3, trainer, "cpu") == (1, None)


def test_it_is_refused_before_anything_is_asked_or_trained(tiny_file, tmp_path):
    parts = {"data": {"minibatches": 2}, "trainer": {"gradient_clip_val": 1.0}}
    with pytest.raises(MisodiceError, match=r"data\.minibatches: found 2"):
        experiment(tiny_file, tmp_path / "run", **parts).fit()
    assert not list((tmp_path / "run").glob("preferences*"))
