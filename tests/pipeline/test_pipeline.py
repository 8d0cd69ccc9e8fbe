"""Interrupted, broken and changed runs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging

from misodice.data.columns import read_column
from tests.helpers.cli import fit, metrics


class Interrupt(Callback):
    """Ctrl-C at the start of an epoch of the value stage, the first time.

    Args:
        once: file that says it happened.
    """

    def __init__(self, once: str) -> None:
        self.once = Path(once)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if pl_module.name == "value" and trainer.current_epoch == 2 and not self.once.exists():
            self.once.touch()
            raise KeyboardInterrupt


class Break(Callback):
    """A NaN that comes late in the value stage."""

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        if pl_module.name == "value" and trainer.current_epoch == 2:
            with torch.no_grad():
                next(pl_module.mixer.parameters()).fill_(float("nan"))


class FirstStep(WeightAveraging):
    """An average that takes in the first step alone."""

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        return step_idx == 0


def stage_rows(run_dir: Path, stage: str) -> list[dict[str, str]]:
    return [row for row in metrics(run_dir) if row["stage"] == stage]


@pytest.mark.usefixtures("sigint")
def test_an_interrupted_run_goes_on_and_ends_as_an_unbroken_one(tiny_file, tmp_path, capsys):
    length = ["--trainer.max_epochs", "4"]
    fit(tmp_path / "whole", tiny_file, *length)
    broken = tmp_path / "broken"
    interrupt = {"class_path": "tests.pipeline.test_pipeline.Interrupt", "init_args": {"once": str(tmp_path / "once")}}
    length += ["--trainer.callbacks", json.dumps([interrupt])]
    fit(broken, tiny_file, *length, status=130)
    assert "--ckpt_path last" in capsys.readouterr().err
    assert not (broken / "summary.json").exists()
    assert not (broken / "policy").exists()
    fit(broken, tiny_file, *length, "--ckpt_path", "last")
    said = capsys.readouterr().out
    assert "discriminator: up to date" in said
    assert f"value: going on from {broken / 'value' / 'last.ckpt'}" in said
    results = [json.loads((run / "summary.json").read_text())["rollout"] for run in (tmp_path / "whole", broken)]
    assert results[0] == results[1]
    assert stage_rows(broken, "value")[-1] == stage_rows(tmp_path / "whole", "value")[-1]


def test_more_epochs_go_on_from_where_the_stage_ended(tiny_file, tmp_path, capsys):
    fit(tmp_path / "run", tiny_file)
    capsys.readouterr()
    fit(tmp_path / "run", tiny_file, "--trainer.max_epochs", "3", "--ckpt_path", "last")
    assert capsys.readouterr().out.count("going on from") >= 1
    steps = json.loads((tmp_path / "run" / "policy" / "stage.json").read_text())["steps"]
    fit(tmp_path / "afresh", tiny_file, "--trainer.max_epochs", "3")
    assert steps == json.loads((tmp_path / "afresh" / "policy" / "stage.json").read_text())["steps"]
    # max_steps of an episode is no length of the training.
    other = ["--preference.max_steps", "5", "--ckpt_path", "last"]
    fit(tmp_path / "run", tiny_file, *other, status=2)
    assert "preference.max_steps is 5, was" in capsys.readouterr().err
    fit(tmp_path / "run", tiny_file, *other, "--replace", "true")
    assert f"{tmp_path / 'run' / 'preference' / 'last.ckpt'} is of another config" in capsys.readouterr().out


def test_a_stage_does_not_go_on_once_its_input_is_another(tiny_file, tmp_path, capsys):
    fit(tmp_path / "run", tiny_file, "--data.ranking", "oracle")
    capsys.readouterr()
    fit(tmp_path / "run", tiny_file, "--data.ranking", "oracle", "--trainer.max_epochs", "3", "--ckpt_path", "last")
    said = capsys.readouterr().out
    assert "discriminator: going on from" in said
    for stage in ("value", "policy"):
        assert f"{tmp_path / 'run' / stage / 'last.ckpt'} is of another config or input; training anew" in said


def test_a_nan_keeps_the_last_good_checkpoint(tiny_file, tmp_path, capsys):
    run = tmp_path / "run"
    broken = ["--trainer.max_epochs", "4", "--trainer.callbacks", "tests.pipeline.test_pipeline.Break"]
    fit(run, tiny_file, *broken, status=2)
    message = capsys.readouterr().err
    assert "stage value" in message
    assert "step" in message
    kept = torch.load(run / "value" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept["state_dict"].values())


def test_a_cosine_schedule_ends_at_zero(tiny_file, tmp_path):
    fit(tmp_path / "run", tiny_file, "--policy.lr_schedule", "cosine")
    kept = torch.load(tmp_path / "run" / "policy" / "last.ckpt", weights_only=True)
    assert kept["lr_schedulers"][0]["base_lrs"][0] > 0
    assert kept["lr_schedulers"][0]["_last_lr"][0] == pytest.approx(0.0, abs=1e-12)


def test_a_policy_whose_rate_has_fallen_trains_anew_for_more_epochs(tiny_file, tmp_path, capsys):
    bc = ["--data.ranking", "oracle", "--value", "CloneWeights", "--ckpt_path", "last"]
    fit(tmp_path / "run", tiny_file, *bc)
    capsys.readouterr()
    fit(tmp_path / "run", tiny_file, *bc, "--trainer.max_epochs", "3")
    assert "policy/last.ckpt is of another config or input; training anew" in capsys.readouterr().out


def test_columns_are_of_averaged_weights(tiny_file, tmp_path):
    whole = ("--data.batch_size", "10000")  # an epoch is one step
    fit(tmp_path / "averaged", tiny_file, *whole, "--trainer.callbacks", "tests.pipeline.test_pipeline.FirstStep")
    fit(tmp_path / "one", tiny_file, *whole, "--trainer.max_epochs", "1")
    for column in ("log_ratio", "weight"):
        one, averaged = (read_column(tmp_path / run / "columns.h5", column) for run in ("one", "averaged"))
        np.testing.assert_allclose(averaged, one, rtol=1e-4, atol=1e-6)
