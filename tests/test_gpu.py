"""The command line on a GPU: what it learns there, and that it can be stopped, compiled and run elsewhere."""

import copy
import json
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from lightning import Callback, Trainer
from lightning.fabric.utilities import move_data_to_device
from torch import nn

from misodice.cli.main import main
from misodice.datamodules.successors import Successors
from misodice.errors import MisodiceError
from misodice.modules import AgentMLP, Value
from tests.helpers.cli import fit as fit_task, metrics
from tests.helpers.small import table_of
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


class Captured(Callback):
    """Fails where a stage's steps were not replayed."""

    def on_train_epoch_end(self, trainer, pl_module):
        if pl_module.name != "preference":
            assert pl_module.eager is None
            assert pl_module._steps._step.recorder.ready


ONE = ["--data.minibatches", "1"]


@pytest.mark.parametrize(("config", "data"), [("smacv2_zerg", "smax_file"), ("mamujoco_hopper", "hopper_file")])
@pytest.mark.parametrize("more", [[], ["--policy.lr_schedule", "cosine"], ["--trainer.precision", "bf16-mixed"]])
def test_captured_steps_learn_the_same(more, config, data, request, tmp_path):
    file = request.getfixturevalue(data)
    fit(tmp_path / "eager", file, *GPU, *more, *ONE, config=config)
    fit(tmp_path / "captured", file, *GPU, *more, "--trainer.callbacks", "tests.test_gpu.Captured", config=config)
    low = "bf16-mixed" in more
    assert_alike(tmp_path / "captured", tmp_path / "eager", 0.2 if low else 1e-2)
    for name in ("discriminator", "value", "policy"):
        kept = [torch.load(tmp_path / run / name / "last.ckpt", weights_only=True) for run in ("captured", "eager")]
        assert kept[0]["global_step"] == kept[1]["global_step"]
        policy = [checkpoint["optimizer_states"][0]["param_groups"] for checkpoint in kept]
        assert policy[0] == policy[1]
    rows = [[(row["stage"], row["epoch"], row["step"]) for row in metrics(tmp_path / r)] for r in ("captured", "eager")]
    assert rows[0] == rows[1]


def test_a_captured_run_goes_on_where_an_eager_one_stopped(smax_file, tmp_path):
    fit(tmp_path / "whole", smax_file, *GPU)
    fit(tmp_path / "stopped", smax_file, *GPU, *ONE, "--trainer.max_epochs", "1")
    fit(tmp_path / "stopped", smax_file, *GPU, "--ckpt_path", "last")
    assert_alike(tmp_path / "stopped", tmp_path / "whole", 1e-2)


def on_gpu(stage: Value, together: int, *callbacks: Callback, epochs: int = 3) -> Trainer:
    """The stage on a thousand transitions, twenty equal minibatches an epoch."""
    table = table_of([25] * 40).on(torch.device("cuda"))
    data = Successors(table, torch.linspace(-1, 1, 1000, device="cuda"), False, 50, seed=0)
    data.minibatches = together
    torch.manual_seed(0)
    shown = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    options = dict.fromkeys(shown, False)
    trainer = Trainer(accelerator="gpu", devices=1, max_epochs=epochs, callbacks=list(callbacks), **options)
    trainer.fit(stage, datamodule=data)
    return trainer


def assert_weights_alike(one: Value, other: Value, tolerance: float = 1e-3) -> None:
    for name, theirs in other.state_dict().items():
        assert one.state_dict()[name].cpu() == pytest.approx(theirs.cpu(), abs=tolerance), name


class Look(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        self.eager, self.step = pl_module.eager, pl_module._steps and pl_module._steps._step


class Silent(Value):
    """Its second epoch must wait for nothing on the GPU."""

    def on_train_epoch_start(self):
        super().on_train_epoch_start()
        if self.trainer.current_epoch == 1:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_epoch_end(self):
        torch.cuda.set_sync_debug_mode("default")
        super().on_train_epoch_end()


def test_replays_wait_for_nothing():
    look, single, several = Look(), Value(), Silent()
    try:
        trainer = on_gpu(several, 5, look)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert look.eager is None
    assert look.step.recorder.ready
    assert trainer.global_step == on_gpu(single, 1).global_step == 60
    assert_weights_alike(several, single)


class Spoilt(Value):
    """Its loss is infinite for the 31st minibatch, which the GPU alone counts."""

    def build(self, spec):
        super().build(spec)
        self.register_buffer("made", torch.zeros(()))

    def loss(self, batch):
        loss, logged = super().loss(batch)
        return loss / (self.made != 30).float(), logged

    def after_step(self):
        self.made.add_(1.0)


class Keep(Callback):
    def on_exception(self, trainer, pl_module, exception):
        self.weights = {name: value.cpu().clone() for name, value in pl_module.state_dict().items() if name != "made"}


def test_a_nan_in_a_replay_changes_no_weight():
    keeps = []
    for together in (1, 16):
        keeps.append(Keep())
        with pytest.raises(MisodiceError, match="turned NaN or infinite at step 30;"):
            on_gpu(Spoilt(), together, keeps[-1])
    for name, theirs in keeps[0].weights.items():
        assert torch.isfinite(theirs).all()
        assert keeps[1].weights[name] == pytest.approx(theirs, abs=1e-3), name


class Waits(Value):
    def loss(self, batch):
        loss, logged = super().loss(batch)
        return loss * (1.0 if logged["loss"].item() > -1e9 else 2.0), logged


class MakesOne(Value):
    """Copies a number of Python's to the GPU, which waits too."""

    def loss(self, batch):
        loss, logged = super().loss(batch)
        return loss * torch.tensor([1.0, 2.0], device=loss.device)[0], logged


@pytest.mark.parametrize("kind", [Waits, MakesOne])
def test_what_cannot_be_captured_is_trained_all_the_same(kind):
    look, single, several = Look(), kind(), kind()
    on_gpu(single, 1)
    on_gpu(several, 16, look)
    assert look.eager.startswith("a step cannot be captured: ")
    assert_weights_alike(several, single)
    # The GPU's random numbers and later captures are not harmed.
    torch.rand(3, device="cuda")
    on_gpu(Value(), 16, look, epochs=1)
    assert look.eager is None


class Noisy(AgentMLP):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, inputs, agent=None):
        return super().forward(self.dropout(inputs), agent)


class Still(Value):
    """Learns nothing, so that its losses differ by the random numbers alone."""

    def loss(self, batch):
        loss, _ = super().loss(batch)
        with torch.no_grad():
            drawn = self.local.dropout(torch.ones(1000, device=loss.device)).mean()
        return loss, {"loss": loss, "drawn": drawn, "square": drawn.square()}


def test_each_replay_draws_random_numbers_anew():
    trainer = on_gpu(Still(network=partial(Noisy)), 20)
    mean, square = (trainer.logged_metrics[f"value/{name}"].item() for name in ("drawn", "square"))
    assert square - mean**2 > 1e-5  # twenty equal draws have no variance
