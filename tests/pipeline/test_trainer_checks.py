"""Options of Lightning's Trainer in real runs of a tiny game: what is supported gives the right result."""

import threading

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, TQDMProgressBar

from misodice.errors import MisodiceError
from misodice.experiment import Experiment
from misodice.modules import HyperMixer, Value
from misodice.pipeline.trainer_checks import callbacks_of, made
from tests.helpers.tiny_run import experiment


class Count(Callback):
    """Counts what is done in each stage; the counts outlive the copies of a callback."""

    seen: dict[str, dict[str, int]] = {}  # noqa: RUF012 - one for all copies

    def _add(self, module, what):
        counts = self.seen.setdefault(module.name, {"epochs": 0, "validations": 0})
        counts[what] += 1

    def on_train_epoch_end(self, trainer, pl_module):
        self._add(pl_module, "epochs")

    def on_validation_epoch_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self._add(pl_module, "validations")


@pytest.fixture
def seen():
    Count.seen.clear()
    return Count.seen


def test_every_second_epoch_is_validated_and_the_best_of_them_is_kept(tiny_file, tmp_path, seen):
    result = experiment(tiny_file, tmp_path / "run", trainer={"check_val_every_n_epoch": 2, "callbacks": Count()}).fit()
    assert seen["discriminator"] == {"epochs": 4, "validations": 2}
    assert seen["value"]["epochs"] == 4
    assert {path.name for path in (tmp_path / "run" / "value").glob("*.ckpt")} == {"last.ckpt"}
    best = torch.load(tmp_path / "run" / "discriminator" / "best.ckpt", weights_only=True)
    assert best["epoch"] in (1, 3)
    assert result.summary["rollout"]["episodes"] == 4


def test_callbacks_of_a_user(tiny_file, tmp_path, seen):
    """Another bar, two checkpoints with files of their own, and stops that belong to one stage each."""
    folder = tmp_path / "mine"
    callbacks = [
        TQDMProgressBar(refresh_rate=0),
        ModelCheckpoint(save_top_k=-1),
        ModelCheckpoint(folder, filename="{epoch}", monitor="value/loss", save_top_k=-1),
        ModelCheckpoint(folder, filename="{epoch}", monitor="policy/loss"),
        EarlyStopping("value/loss", patience=1, min_delta=1e9),
        EarlyStopping("preference/held_out_loss", patience=1, min_delta=1e9),
        EarlyStopping("rollout/return", mode="max", patience=1, min_delta=1e9),
        Count(),
    ]
    trainer = {"callbacks": callbacks, "enable_progress_bar": True, "num_sanity_val_steps": 1}
    experiment(tiny_file, tmp_path / "run", trainer=trainer).fit()
    assert {stage: counts["epochs"] for stage, counts in seen.items()} == {
        **{"preference": 2, "discriminator": 4, "value": 2, "policy": 2}
    }
    assert {path.name for path in (folder / "value").iterdir()} == {"epoch=0.ckpt", "epoch=1.ckpt"}
    assert len(list((folder / "policy").iterdir())) == 1
    assert not (folder / "preference").exists()
    for stage in seen:
        assert list((tmp_path / "run" / stage).rglob("checkpoints/*.ckpt")), stage


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"trainer": {"accelerator": "gpu"}}, r"^trainer\.accelerator: found 'gpu', which cannot be used: "),
        ({"trainer": {"accelerator": "foo"}}, r"^trainer\.accelerator: found 'foo'"),
        ({"trainer": {"devices": 0}}, r"^trainer\.devices: found 0"),
        ({"trainer": {"devices": 4096}}, r"^trainer\.devices: found 4096, expected at most \d+"),
        ({"trainer": {"devices": "foo"}}, r"^trainer\.devices: found 'foo'"),
        ({"trainer": {"strategy": "foo"}}, r"^trainer\.strategy: found 'foo'"),
        ({"trainer": {"profiler": "foo"}}, r"^trainer\.profiler: found 'foo'"),
        (
            {"trainer": {"callbacks": [ModelCheckpoint(), ModelCheckpoint()]}},
            r"^trainer\.callbacks: found .* more than one stateful callback",
        ),
        (
            {"value": Value(mixer=lambda n_agents, state_dim: HyperMixer(n_agents, state_dim, 0))},
            "^HyperMixer.hidden: ",
        ),
    ],
)
def test_what_this_machine_or_the_data_cannot_serve_is_told_before_training(tiny_file, tmp_path, parts, words):
    if parts.get("trainer", {}).get("accelerator") == "gpu" and torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(MisodiceError, match=words):
        experiment(tiny_file, tmp_path / "run", **parts).fit()
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_metric_that_a_stage_does_not_log_is_one_line(tiny_file, tmp_path):
    callback = EarlyStopping("value/foo")
    with pytest.raises(MisodiceError, match=r"^value: an option of trainer cannot be used: .*value/foo") as error:
        experiment(tiny_file, tmp_path / "run", trainer={"callbacks": callback}).fit()
    assert len(str(error.value).splitlines()) == 1


def test_the_users_stop_takes_the_place_of_ours():
    mine, ours, other = (EarlyStopping(name) for name in ("value/loss", "value/loss", "policy/loss"))
    assert callbacks_of("value", [mine, other], [ours]) == [mine]
    assert callbacks_of("policy", [mine, other], [ours]) == [other, ours]


class Locked(Callback):
    """Holds a lock, as one that talks to a server does."""

    def __init__(self):
        self.lock = threading.Lock()


def test_a_callback_that_cannot_be_copied_is_named():
    with pytest.raises(MisodiceError, match=r"^trainer\.callbacks: found .*Locked.* cannot be copied for each stage"):
        made({"callbacks": [Locked()], "accelerator": "cpu"})


def test_a_class_in_place_of_an_object_is_named():
    with pytest.raises(MisodiceError, match=r"^trainer\.callbacks: found .* call it: Count\(…\)"):
        Experiment(trainer={"callbacks": [Count]})
