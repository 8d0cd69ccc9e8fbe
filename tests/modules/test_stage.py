"""Stages: their checkpoints, and what ends their training."""

import sys
from functools import partial

import pytest
import torch
from torch import nn

from misodice.datamodules.successors import Successors
from misodice.errors import MisodiceError
from misodice.modules import (
    OMAPL,
    AgentMLP,
    Discriminator,
    HyperMixer,
    Mixer,
    Network,
    Policy,
    RewardModel,
    Stage,
    Value,
)
from misodice.runs.parts import config_of
from tests.helpers.small import save_stage, table_of, train

TABLE = table_of([4, 1, 5])
SMALL = partial(AgentMLP, hidden=(8, 4))
STEP = TABLE.step(torch.arange(10))


class OwnMixer(Mixer):
    """A user's own, with an option."""

    def __init__(self, n_agents: int, state_dim: int, power: float = 1.0) -> None:
        super().__init__(n_agents, state_dim)
        self.power = power
        self.scale = nn.Parameter(torch.rand(n_agents))

    def forward(self, values, state):
        return (values * self.scale.abs() ** self.power).sum(dim=-1)


class OwnNetwork(Network):
    """A user's own: linear in the input."""

    def __init__(self, n_agents: int, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(n_agents, inputs, outputs)
        self.layer = nn.Linear(inputs, outputs, bias=bias)

    def forward(self, inputs, agent=None):
        return self.layer(inputs)


class OwnValue(Value):
    """A user's own stage, with an option beside the inherited ones."""

    def __init__(self, shift: float = 0.0, **options) -> None:
        super().__init__(**options)
        self.shift = shift

    def forward(self, obs, state):
        return super().forward(obs, state) + self.shift


STAGES = {
    "value": Value(partial(HyperMixer, hidden=8), SMALL, 0.5, 0.9, "logsumexp", "reward", False, 7.0, 4, 1e-3, 3),
    "discriminator": Discriminator(mixing="probability", network=SMALL, patience=2),
    "own parts": Value(mixer=partial(OwnMixer, power=2.0), network=partial(OwnNetwork, bias=False)),
    "own stage": OwnValue(shift=3.0, network=SMALL, mixer=OwnMixer, alpha=0.25),
    "omapl": OMAPL(network=SMALL, beta=2.0, regulariser=0.1, pairs=5),
    "reward model": RewardModel(mixer=OwnMixer, network=SMALL, max_steps=3),
}


def answers(stage: Stage) -> torch.Tensor:
    with torch.no_grad():
        if isinstance(stage, Value):
            return stage(STEP.obs, STEP.state)
        if isinstance(stage, Discriminator):
            return stage(STEP)
        return stage.reward(TABLE.transition(torch.arange(10)))


@pytest.mark.parametrize("kind", STAGES)
def test_a_checkpoint_alone_gives_the_stage_back(kind, tmp_path):
    stage = STAGES[kind]
    path = save_stage(stage, TABLE.spec, tmp_path / "last.ckpt")
    for loaded in (type(stage).load(path), Stage.load(str(path))):
        assert type(loaded) is type(stage)
        assert config_of(loaded) == config_of(stage)
        assert loaded.spec == TABLE.spec
        assert not loaded.training
        assert loaded.device == torch.device("cpu")
        assert torch.equal(answers(loaded), answers(stage))
        for name, value in vars(stage).items():
            if isinstance(value, (bool, int, float, str)) and name != "training":
                assert getattr(loaded, name) == value, name


def spoilt(tmp_path, change) -> str:
    path = save_stage(Policy(network=SMALL), TABLE.spec, tmp_path / "last.ckpt")
    kept = torch.load(path, weights_only=True)
    change(kept)
    torch.save(kept, path)
    return str(path)


def text(tmp_path):
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    return tmp_path / "text.ckpt"


def cut_short(tmp_path):
    path = save_stage(Policy(network=SMALL), TABLE.spec, tmp_path / "last.ckpt")
    path.write_bytes(path.read_bytes()[:1000])
    return path


def foreign(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "foreign.ckpt")
    return tmp_path / "foreign.ckpt"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "absent.ckpt", ["absent.ckpt does not exist", "misodice fit"]),
        (lambda folder: folder, ["does not exist"]),
        (text, ["text.ckpt is not a Policy's checkpoint of this version", "policy/last.ckpt"]),
        (cut_short, ["last.ckpt is not a Policy's checkpoint of this version"]),
        (foreign, ["foreign.ckpt is not a Policy's checkpoint of this version", "part"]),
        (
            lambda folder: save_stage(STAGES["value"], TABLE.spec, folder / "value.ckpt"),
            ["value.ckpt", "misodice.modules.value.Value", "expected a subclass of misodice.modules.policy.Policy"],
        ),
        (
            lambda folder: spoilt(folder, lambda kept: kept["part"].update(class_path="gone.Policy")),
            ["last.ckpt", "'gone.Policy' cannot be imported"],
        ),
        (
            lambda folder: spoilt(folder, lambda kept: kept["part"]["init_args"].update(lrr=1.0)),
            ["last.ckpt", "lrr"],
        ),
        (
            lambda folder: spoilt(folder, lambda kept: kept["spec"].update(obs_dim=9)),
            ["last.ckpt is not a Policy's checkpoint of this version", "size mismatch"],
        ),
        (
            lambda folder: spoilt(folder, lambda kept: kept["spec"].update(colour="red")),
            ["last.ckpt is not a Policy's checkpoint of this version", "colour"],
        ),
    ],
    ids=["absent", "folder", "text", "cut", "foreign", "other", "class", "option", "sizes", "spec"],
)
def test_what_is_no_checkpoint_of_the_stage_is_said(tmp_path, make, words):
    with pytest.raises(MisodiceError) as error:
        Policy.load(make(tmp_path))
    for word in words:
        assert word in str(error.value)


def test_a_class_that_is_gone_is_named(tmp_path, monkeypatch):
    path = save_stage(STAGES["own stage"], TABLE.spec, tmp_path / "last.ckpt")
    monkeypatch.delattr(sys.modules[__name__], "OwnValue")
    with pytest.raises(MisodiceError, match=r"test_stage\.OwnValue' cannot be imported"):
        Stage.load(path)


class Spoilt(Value):
    """Its gradient turns to what `end` says in the third step."""

    def __init__(self, end: float, **options) -> None:
        super().__init__(**options)
        self.end, self.steps = end, 0

    def loss(self, batch):
        loss, logged = super().loss(batch)
        self.steps += 1
        return loss * (self.end if self.steps == 3 else 1.0), logged


@pytest.mark.parametrize("end", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_training_before_it_reaches_the_weights(end):
    stage = Spoilt(end, network=SMALL)
    data = Successors(TABLE, torch.zeros(10), False, batch_size=2, seed=0)
    with pytest.raises(MisodiceError, match=r"stage value: the loss turned NaN or infinite at step 2; .* --value.lr"):
        train(stage, data)
    assert stage.steps == 3
    assert all(torch.isfinite(parameter).all() for parameter in stage.parameters())


def test_means_over_the_epoch_are_logged():
    """Of its samples, not of its batches: the last one is smaller."""
    losses = []

    class Remember(Value):
        def loss(self, batch):
            loss, logged = super().loss(batch)
            losses.append((len(batch), loss.item()))
            return loss, logged

    trainer = train(Remember(network=SMALL), Successors(TABLE, torch.zeros(10), False, batch_size=4, seed=0))
    assert [size for size, _ in losses] == [4, 4, 2]
    expected = sum(size * loss for size, loss in losses) / 10
    assert trainer.logged_metrics["value/loss"].item() == pytest.approx(expected, rel=1e-5)


def test_random_numbers_go_on_where_a_checkpoint_was_made(tmp_path):
    stage = Value(network=SMALL)
    path = save_stage(stage, TABLE.spec, tmp_path / "last.ckpt")
    expected = torch.rand(3)  # what follows the state that was saved
    loaded = Value.load(path)
    torch.manual_seed(99)
    loaded.on_train_start()
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"lr": float("nan")}, {"epochs": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(
        MisodiceError,
        match=r"^policy\.(lr|epochs): found .*, expected a (finite number|whole)",
    ):
        Policy(**options)


def test_a_stage_says_what_it_lacks():
    class Empty(Stage):
        name = "value"

    for missing in (lambda stage: stage.loss(None), lambda stage: stage.datamodule(None)):
        with pytest.raises(MisodiceError, match="Empty has no"):
            missing(Empty())
