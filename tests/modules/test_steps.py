"""Steps of several minibatches: made one by one or replayed, they are those of Lightning."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from lightning import Callback
from torch import nn
from torch.utils.data import DataLoader

from misodice.data.pairs import LabelledPairs
from misodice.datamodules.experts import Experts
from misodice.datamodules.experts_and_union import ExpertsAndUnion
from misodice.datamodules.paired import PairedEpisodes
from misodice.datamodules.successors import Successors
from misodice.datamodules.weighted import Weighted
from misodice.errors import MisodiceError
from misodice.modules import OMAPL, AgentMLP, Discriminator, HyperMixer, Policy, RewardModel, Value, stage as module
from misodice.modules.steps import Steps
from tests.helpers.small import served, table_of, train
from tests.helpers.tape import Direct, Tape

TABLE = table_of([9, 4, 12, 7, 5])  # 37 transitions: with batches of four, nine and one of one
EVEN = table_of([6] * 8)
EXPERTS = Experts(np.arange(5) < 2, np.zeros(5, bool))
RATIO = torch.linspace(-1.0, 1.0, 37)


class Noisy(AgentMLP):
    """Draws random numbers of its own."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes, hidden=(8,))
        self.dropout = nn.Dropout(0.2)

    def forward(self, inputs, agent=None):
        return super().forward(self.dropout(inputs), agent)


def pairs(table, uneven: bool = False) -> PairedEpisodes:
    chosen = np.array([[i % 5, (i + 1) % 5] for i in range(22)])
    return PairedEpisodes(
        table, LabelledPairs(chosen, np.arange(22) % 3 > 0, np.arange(22) > 20), 2, 20 if uneven else 6, 0
    )


KINDS = {
    "value": (partial(Value, network=Noisy), lambda: Successors(TABLE, RATIO, False, 4, 0, 2)),
    "discriminator": (partial(Discriminator, network=Noisy), lambda: ExpertsAndUnion(TABLE, EXPERTS, 4, 0)),
    "policy": (partial(Policy, network=Noisy, lr_schedule="cosine"), lambda: Weighted(TABLE, RATIO.exp(), 4, 0)),
    "omapl": (partial(OMAPL, network=Noisy, mixer=partial(HyperMixer, hidden=4)), lambda: pairs(EVEN)),
}


class Look(Callback):
    """What a stage says of its steps, and where it is after each batch."""

    def __init__(self) -> None:
        self.eager = set()
        self.steps = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.eager.add(pl_module.eager)
        self.steps.append(trainer.global_step)


def trained(kind, together: int, recorder=None, monkeypatch=None, *callbacks, epochs: int = 3, **options):
    """A stage and its Trainer after the training, and what `Look` saw."""
    make, data = KINDS[kind] if isinstance(kind, str) else kind
    stage, data, look = make(lr=0.01), data(), Look()
    data.minibatches = together
    if recorder is not None:
        monkeypatch.setattr(module, "Steps", partial(Steps, recorder=recorder))
    torch.manual_seed(0)
    trainer = train(stage, data, look, *callbacks, epochs=epochs, **options)
    return stage, trainer, look


def assert_same(one, other) -> None:
    (ours, our_trainer, _), (theirs, their_trainer, _) = one, other
    assert our_trainer.global_step == their_trainer.global_step
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name
    states = [each.optimizers[0].state_dict() for each in (our_trainer, their_trainer)]
    for ours_of, theirs_of in zip(*(each["state"].values() for each in states), strict=True):
        assert all(torch.equal(ours_of[name], theirs_of[name]) for name in theirs_of)
    assert states[0]["param_groups"] == states[1]["param_groups"]
    logged = {name: value.item() for name, value in their_trainer.logged_metrics.items()}
    assert {name: value.item() for name, value in our_trainer.logged_metrics.items()} == logged


@pytest.mark.parametrize("together", [3, 20])
@pytest.mark.parametrize("kind", KINDS)
def test_steps_are_those_of_lightning(kind, together):
    single = trained(kind, 1)
    after = torch.get_rng_state()
    several = trained(kind, together)
    assert_same(several, single)
    assert torch.equal(torch.get_rng_state(), after)
    assert several[2].steps[0] == min(together, several[1].global_step // 3)
    assert several[2].eager == {"CUDA graphs need a GPU, and the device is cpu"}
    assert single[2].eager == {None}


@pytest.mark.parametrize("kind", KINDS)
def test_replayed_steps_are_those_of_lightning(kind, monkeypatch):
    single = trained(kind, 1)
    after = torch.get_rng_state()
    tapes = []
    recorder = lambda: tapes.append(Tape()) or tapes[-1]  # noqa: E731
    several = trained(kind, 4, recorder, monkeypatch)
    assert_same(several, single)
    assert torch.equal(torch.get_rng_state(), after)
    assert several[2].eager == {None}
    assert len(tapes) == 1
    # All but the first ones, and the last of each epoch, which is smaller.
    assert tapes[0].replays == several[1].global_step - 3 - 3


def test_a_lower_precision_is_the_same(monkeypatch):
    options = {"precision": "bf16-mixed", "epochs": 2}
    single = trained("value", 1, **options)
    assert_same(trained("value", 4, **options), single)
    assert_same(trained("value", 4, Tape, monkeypatch, **options), single)


def test_double_precision_is_the_same(monkeypatch):
    options = {"precision": "64-true", "epochs": 2}
    single = trained("value", 1, **options)
    assert next(single[0].parameters()).dtype == torch.float64
    assert_same(trained("value", 4, **options), single)
    assert_same(trained("value", 4, Tape, monkeypatch, **options), single)


BATCHES = list(served(Successors(TABLE, RATIO, False, 4, 0)).train_dataloader())
SEVENTH = next(x for x in BATCHES[6].obs.flatten() if not any((x == batch.obs).any() for batch in BATCHES[:6]))


class Spoilt(Value):
    """Its loss is no number where a batch holds an observation that comes in the seventh first."""

    def loss(self, batch):
        loss, logged = super().loss(batch)
        return loss * torch.where((batch.obs == SEVENTH).any(), float("nan"), 1.0), logged


class Keep(Callback):
    """The weights at the error."""

    def on_exception(self, trainer, pl_module, exception):
        self.weights = {name: value.clone() for name, value in pl_module.state_dict().items()}
        self.state = trainer.optimizers[0].state_dict()["state"]


@pytest.mark.parametrize("recorder", [Direct, Tape])
def test_a_gradient_that_is_no_number_changes_no_weight(recorder, monkeypatch):
    kind = partial(Spoilt, network=Noisy, window=1), lambda: Successors(TABLE, RATIO, False, 4, 0)
    keeps, words = [], []
    for together, chosen in ((1, None), (4, recorder)):
        keeps.append(Keep())
        with pytest.raises(MisodiceError, match="turned NaN or infinite at step") as error:
            trained(kind, together, chosen, monkeypatch, keeps[-1])
        words.append(str(error.value))
        assert "at step 6;" in words[-1]
    assert words[0] == words[1]
    for name, value in keeps[0].weights.items():
        assert torch.equal(keeps[1].weights[name], value), name
    for ours, theirs in zip(keeps[1].state.values(), keeps[0].state.values(), strict=True):
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Breaks(Direct):
    """Fails at its third step, when everything is changed already."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, step):
        step()
        self.made += 1
        if self.made == 3:
            torch.rand(3)
            raise RuntimeError("operation not permitted when\nstream is capturing")


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_captured_is_trained_all_the_same(kind, monkeypatch):
    single = trained(kind, 1)
    several = trained(kind, 4, Breaks, monkeypatch)
    assert_same(several, single)
    assert several[2].eager == {"a step cannot be captured: operation not permitted when stream is capturing"}


class Waits(Value):
    """Reads a number from its batch."""

    def loss(self, batch):
        loss, logged = super().loss(batch)
        return loss * (2.0 if batch.obs.mean().item() > 0 else 1.0), logged


def test_a_loss_that_waits_for_the_gpu_is_no_captured_one(monkeypatch):
    kind = partial(Waits, network=Noisy), KINDS["value"][1]
    several = trained(kind, 4, partial(Tape, strict=True), monkeypatch)
    assert_same(several, trained(kind, 1))
    assert several[2].eager == {"a step cannot be captured: called a synchronizing CUDA operation"}


def test_minibatches_of_many_sizes_are_not_captured(monkeypatch):
    kind = partial(RewardModel, network=Noisy), lambda: pairs(TABLE, uneven=True)
    several = trained(kind, 4, Tape, monkeypatch)
    assert_same(several, trained(kind, 1))
    assert several[2].eager == {"the minibatches are of different sizes"}


class Reload(Callback):
    """Loads the optimizer's own state in the middle, which puts other tensors in the place of its own."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.current_epoch == 1 and batch_idx == 0:
            trainer.optimizers[0].load_state_dict(copy.deepcopy(trainer.optimizers[0].state_dict()))


def test_a_step_is_recorded_anew_where_a_state_was_loaded(monkeypatch):
    tapes = []
    recorder = lambda: tapes.append(Tape()) or tapes[-1]  # noqa: E731
    several = trained("value", 4, recorder, monkeypatch, Reload())
    assert_same(several, trained("value", 1))
    assert len(tapes) == 2
    assert all(tape.replays for tape in tapes)


def test_a_limit_counts_minibatches():
    single = trained("value", 1, limit_train_batches=7)
    several = trained("value", 4, limit_train_batches=7)
    assert_same(several, single)
    assert single[1].global_step == 21
    assert several[2].steps == [4, 7, 11, 14, 18, 21]


class OwnLoader(Successors):
    """Its batches are of a loader that knows of no minibatches."""

    def train_dataloader(self):
        single = Successors(self.table, self.log_ratio, False, 4, 0)
        single.trainer = self.trainer
        return DataLoader(list(single.train_dataloader()), batch_size=None)


def test_a_batch_of_a_loader_of_one_s_own_is_one_minibatch():
    kind = KINDS["value"][0], lambda: OwnLoader(TABLE, RATIO, False, 4, 0)
    several = trained(kind, 4)
    assert_same(several, trained(kind, 1))
    assert several[1].global_step == 30
