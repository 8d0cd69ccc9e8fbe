"""Rollouts while the policy trains."""

from functools import partial

import pytest
import torch

from misodice.callbacks.rollout import LogRollouts, summarise
from misodice.data.episodes import Episodes
from misodice.datamodules.inputs import Inputs
from misodice.datamodules.table import TransitionTable
from misodice.modules import AgentMLP, Policy
from misodice.rollout.collect import collect
from misodice.rollout.evaluation import Evaluation
from tests.helpers.small import train
from tests.helpers.tiny_engine import Tiny


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> TransitionTable:
    engine, path = Tiny(), tmp_path_factory.mktemp("data") / "tiny.h5"
    collect(engine, engine.default_sources(), path, seed=0)
    return TransitionTable.of(Episodes.read(path))


class Logged(Evaluation):
    """Remembers what it has played, and for whom."""

    def __init__(self) -> None:
        super().__init__(Tiny(), 3, 0)
        self.epochs: list[int] = []
        self.played: list[tuple] = []

    def play(self, policy):
        self.epochs.append(policy.current_epoch)
        self.played.append(super().play(policy))
        assert policy.training
        return self.played[-1]


@pytest.mark.parametrize(("every", "epochs"), [(2, [1, 3]), (1, [0, 1, 2, 3]), (0, [])])
def test_every_so_many_epochs(table, every, epochs):
    policy = Policy(network=partial(AgentMLP, hidden=(8,)))
    data = policy.datamodule(Inputs(table, {"weight": torch.ones(table.n_transitions)}, None, None, 64, 0))
    evaluation = Logged()
    trainer = train(policy, data, LogRollouts(evaluation, every), epochs=4)
    assert evaluation.epochs == epochs
    logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("rollout/")}
    assert logged == (pytest.approx(summarise(*evaluation.played[-1])) if epochs else {})


def test_summary_of_episodes():
    assert summarise([1.0, 3.0], [True, False], [4, 8]) == {
        "rollout/return": 2.0,
        "rollout/return_std": 1.0,
        "rollout/win_rate": 0.5,
        "rollout/length": 6.0,
    }
    assert "rollout/win_rate" not in summarise([1.0], None, [4])
