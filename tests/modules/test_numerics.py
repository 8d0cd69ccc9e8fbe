"""Finite weights, losses and gradients at the edges of what comes in."""

import contextlib
import math
from functools import partial
from pathlib import Path

import h5py
import pytest
import torch

from misodice.data.episodes import Episodes, EpisodesWriter
from misodice.datamodules.batches import DiscriminatorBatch, PolicyBatch, Spec, Step, ValueBatch
from misodice.modules import CategoricalHead, Discriminator, GaussianHead, Policy, Value, dice
from tests.helpers.cli import fit

PRECISIONS = {"fp32": contextlib.nullcontext, "bf16": lambda: torch.autocast("cpu", torch.bfloat16)}
TANH_NORMAL = partial(GaussianHead, kind="tanh_normal")
ADVANTAGE = torch.cat([-torch.logspace(4, -4, 60), torch.zeros(1), torch.logspace(-4, 4, 60)])


def finite(*tensors) -> bool:
    return all(torch.isfinite(tensor).all() for tensor in tensors)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("alpha", [0.0, 0.05, 10.0])
@pytest.mark.parametrize("loss", [dice.value_loss_exp, dice.value_loss_logsumexp])
def test_any_advantage(loss, alpha, precision):
    advantage = ADVANTAGE.clone().requires_grad_()
    initial = torch.linspace(-1e4, 1e4, 11, requires_grad=True)
    with PRECISIONS[precision]():
        value = loss(initial, advantage, alpha, 0.99)
    value.backward()
    assert finite(value, advantage.grad, initial.grad)
    assert (advantage.grad >= 0).all()
    weight = dice.normalise_weights(dice.log_weight(ADVANTAGE, alpha).double(), 100.0)
    assert finite(weight, dice.effective_sample_size(weight))
    assert weight.mean().item() == pytest.approx(1.0)


def spec(n_agents: int, discrete: bool = True) -> Spec:
    return Spec(n_agents, 4, 6, 3, discrete, [0.0] * 4, [1.0] * 4, [0.0] * 6, [0.0] * 6)


def batches(n_agents: int, rows: int, scale: float, discrete: bool = True):
    torch.manual_seed(0)
    obs, state = scale * torch.randn(rows, n_agents, 4), scale * torch.randn(rows, 6)
    actions = torch.randint(3, (rows, n_agents)) if discrete else torch.rand(rows, n_agents, 3) * 2 - 1
    step = Step(obs, state, actions)
    pairs = (torch.stack([each, each.flip(0)], dim=1) for each in (obs, state))
    value = ValueBatch(*pairs, torch.ones(rows, 1), torch.randn(rows, 1), obs, state)
    weights = torch.rand(rows), torch.rand(rows)
    return (
        (Discriminator(), DiscriminatorBatch(step, *weights)),
        (Discriminator(mixing="probability"), DiscriminatorBatch(step, *weights)),
        (Value(), value),
        (Policy(), PolicyBatch(obs, actions, None, torch.rand(rows))),
        (Policy(head=TANH_NORMAL if not discrete else None), PolicyBatch(obs, actions, None, torch.rand(rows))),
    )


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("n_agents", "rows", "scale"), [(1, 1, 1.0), (20, 8, 1.0), (3, 8, 1e6), (3, 8, 0.0)])
@pytest.mark.parametrize("discrete", [True, False])
def test_any_team_and_any_scale(n_agents, rows, scale, precision, discrete):
    for stage, batch in batches(n_agents, rows, scale, discrete):
        stage._build(spec(n_agents, discrete))
        with PRECISIONS[precision]():
            loss = stage.training_step(batch, 0)
        loss.backward()
        assert finite(loss, *(p.grad for p in stage.parameters() if p.grad is not None)), type(stage).__name__


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_single_available_action_is_certain(precision):
    head = CategoricalHead(5)
    output = (1e4 * torch.randn(6, 2, 5)).requires_grad_()
    available = torch.zeros(6, 2, 5, dtype=torch.bool)
    available[..., 3] = True
    with PRECISIONS[precision]():
        log_prob = head.log_prob(output, torch.full((6, 2), 3), available)
    assert torch.equal(log_prob, torch.zeros(6, 2))
    assert (head.greedy(output, available) == 3).all()
    log_prob.sum().backward()
    assert finite(output.grad)


@pytest.mark.parametrize("kind", ["normal", "tanh_normal"])
def test_actions_at_the_edge_of_the_box(kind):
    head = GaussianHead(2, kind)
    output = (100 * torch.randn(6, 2, 4)).requires_grad_()
    log_prob = head.log_prob(output, torch.tensor([-1.0, 1.0]).expand(6, 2, 2), None)
    log_prob.sum().backward()
    assert finite(log_prob, output.grad)
    assert (head.greedy(output, None).abs() <= 1).all()


def test_a_deviation_is_not_below_its_bound():
    head = GaussianHead(1, min_std=0.05)
    exact, off = head.log_prob(torch.tensor([[[0.0, -100.0]], [[0.1, -100.0]]]), torch.zeros(2, 1, 1), None).flatten()
    assert exact.item() == pytest.approx(math.log(1 / (0.05 * math.sqrt(2 * math.pi))))
    assert (exact - off).item() == pytest.approx(0.5 * (0.1 / 0.05) ** 2, rel=1e-4)


def test_episodes_of_one_step(tiny_file, tmp_path: Path):
    """Every transition is a first and a last one."""
    episodes = Episodes.read(tiny_file)
    path = tmp_path / "short.h5"
    with EpisodesWriter(path, episodes.header) as writer:
        for episode in episodes:
            writer.add(
                type(episode)(
                    obs=episode.obs[:2],
                    state=episode.state[:2],
                    actions=episode.actions[:1],
                    terminated=episode.terminated[-1:],
                    truncated=episode.truncated[-1:],
                    rewards=episode.rewards[-1:],
                    available_actions=episode.available_actions[:2],
                    won=episode.won,
                    source=episode.source,
                )
            )
    fit(tmp_path / "run", path)


@pytest.mark.parametrize("objective", ["exp", "logsumexp"])
def test_absorbing_final_states_train_from_the_command_line(tiny_file, tmp_path, objective):
    fit(tmp_path / "run", tiny_file, "--value.mask_last", "false", "--value.objective", objective)
    columns = Episodes.read(tiny_file).n_transitions
    with h5py.File(tmp_path / "run" / "columns.h5") as file:
        assert file["weight"].shape == (columns,)
        assert file["weight"][:].mean() == pytest.approx(1.0, abs=1e-4)
