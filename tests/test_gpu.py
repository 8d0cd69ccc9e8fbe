"""The command line on a GPU: what it learns there, and that it can be stopped, compiled and run elsewhere."""

import copy
import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning.fabric.utilities import move_data_to_device

from misodice.cli.main import main
from tests.helpers.cli import fit as fit_task, metrics
from tests.modules.test_numerics import batches, spec
from tests.test_ddp import assert_log_ratio_is_the_checkpoint_s

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU"),
]
GPU = ["--trainer.accelerator", "gpu"]
fit = partial(fit_task, config="smacv2_zerg")


def columns(run: Path) -> dict[str, np.ndarray]:
    with h5py.File(run / "columns.h5") as file:
        return {name: file[name][:] for name in ("reward", "log_ratio", "weight")}


def assert_alike(one: Path, other: Path, tolerance: float) -> None:
    ours = columns(one)
    for name, theirs in columns(other).items():
        assert np.isfinite(ours[name]).all()
        # Beside the spread of the column, whatever its size.
        assert np.abs(ours[name] - theirs).max() <= tolerance * max(float(theirs.std()), 1e-6), name


@pytest.mark.parametrize("discrete", [True, False])
def test_losses_and_gradients_are_the_cpu_s(discrete):
    for stage, batch in batches(3, 256, 1.0, discrete):
        stage._build(spec(3, discrete))
        there = copy.deepcopy(stage).cuda()
        loss, there_loss = stage.loss(batch)[0], there.loss(move_data_to_device(batch, "cuda"))[0]
        assert there_loss.item() == pytest.approx(loss.item(), rel=1e-5)
        loss.backward()
        there_loss.backward()
        for ours, theirs in zip(stage.parameters(), there.parameters(), strict=True):
            assert theirs.grad.cpu() == pytest.approx(ours.grad, abs=1e-4 * float(ours.grad.abs().max() + 1e-3))


@pytest.mark.parametrize(("config", "data"), [("smacv2_zerg", "smax_file"), ("mamujoco_hopper", "hopper_file")])
def test_what_a_gpu_learnt_a_cpu_predicts_and_plays(config, data, request, tmp_path):
    file, run = request.getfixturevalue(data), tmp_path / "run"
    fit(run, file, *GPU, config=config)
    kept = torch.load(run / "policy" / "last.ckpt", weights_only=True)
    assert {tensor.device.type for tensor in kept["state_dict"].values()} == {"cuda"}
    assert_log_ratio_is_the_checkpoint_s(run, file)
    elsewhere = ["--config", str(run / "config.yaml"), "--trainer.accelerator", "cpu"]
    assert main(["test", *elsewhere, "--rollout.episodes", "2"]) == 0


def test_a_run_goes_on_where_it_stopped(smax_file, tmp_path):
    fit(tmp_path / "whole", smax_file, *GPU)
    fit(tmp_path / "stopped", smax_file, *GPU, "--trainer.max_epochs", "1")
    fit(tmp_path / "stopped", smax_file, *GPU, "--ckpt_path", "last")
    assert_alike(tmp_path / "stopped", tmp_path / "whole", 1e-2)


def test_deterministic_runs_are_equal(smax_file, tmp_path):
    for run in ("a", "b"):
        fit(tmp_path / run, smax_file, *GPU, "--trainer.deterministic", "true")
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b")
    assert_alike(tmp_path / "a", tmp_path / "b", 0.0)


@pytest.mark.parametrize("mode", [[], ["--trainer.callbacks.init_args.mode", "reduce-overhead"]])
def test_compiled_networks_learn_the_same(mode, smax_file, tmp_path):
    fit(tmp_path / "eager", smax_file, *GPU)
    fit(tmp_path / "compiled", smax_file, *GPU, "--trainer.callbacks", "misodice.callbacks.compiling.Compile", *mode)
    assert_alike(tmp_path / "compiled", tmp_path / "eager", 5e-2)


def test_low_precision_stays_near(smax_file, tmp_path):
    fit(tmp_path / "full", smax_file, *GPU)
    fit(tmp_path / "low", smax_file, *GPU, "--trainer.precision", "bf16-mixed")
    full, low = columns(tmp_path / "full"), columns(tmp_path / "low")
    for name in full:
        assert np.isfinite(low[name]).all()
        assert np.corrcoef(full[name].ravel(), low[name].ravel())[0, 1] > 0.95, name


def test_data_too_large_for_the_gpu_stays_in_main_memory(smax_file, tmp_path, monkeypatch):
    fit(tmp_path / "there", smax_file, *GPU)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 0))
    fit(tmp_path / "here", smax_file, *GPU)
    assert_alike(tmp_path / "here", tmp_path / "there", 1e-2)
    assert json.loads((tmp_path / "here" / "summary.json").read_text())["rollout"]["episodes"] == 2
