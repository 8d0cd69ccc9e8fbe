"""What a policy is worth, on an engine of a user's own."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from misodice.callbacks.rollout import summarise
from misodice.data.episodes import Episodes
from misodice.errors import MisodiceError
from misodice.rollout.collect import collect
from misodice.rollout.evaluation import Evaluation, Rollout, evaluate, print_result
from tests.helpers.tiny_engine import Tiny


class Watcher(torch.nn.Module):
    """Agent 0 does what it is shown; agent 1 the first that it may."""

    device = "cpu"

    def act(self, obs, available):
        assert not self.training
        shown = obs[:, 0, :3].argmax(-1)
        return torch.stack([shown, available[:, 1].int().argmax(-1)], dim=1)


class Counted(Tiny):
    """Counts how often environments are made."""

    made = 0

    def make(self, num_envs):
        type(self).made += 1
        assert num_envs == 5
        return super().make(num_envs)


def test_one_seed_for_all_evaluations_and_environments_made_once():
    evaluation = Evaluation(Counted(), 5, seed=3)
    assert Counted.made == 0
    policy = Watcher().train()
    returns, won, lengths = evaluation.play(policy)
    assert policy.training
    assert (returns, won, lengths) == evaluation.play(policy.eval())
    assert not policy.training
    assert evaluation.played_on["engine"] == "tiny"
    assert Counted.made == 1
    assert len(returns) == len(won) == len(lengths) == 5
    assert evaluation.play(policy) != Evaluation(Tiny(), 5, seed=4).play(policy)


def test_a_result_is_told_beside_the_data(tmp_path):
    collect(Tiny(), Tiny().default_sources(), tmp_path / "tiny.h5", seed=0)
    episodes = Episodes.read(tmp_path / "tiny.h5")
    result = evaluate(Watcher(), Evaluation(Tiny(), 40, seed=0), episodes, Console(quiet=True))
    assert result["episodes"] == 40
    assert 0 < result["normalised_score"] < 1
    assert 0 < result["win_rate"] < 1
    for env, title in ((episodes.header.env, "follow (tiny)"), ({}, "– (–)")):
        console = Console(file=io.StringIO(), width=100)
        print_result("mine", result, replace(episodes, header=replace(episodes.header, env=env)), console)
        shown = console.file.getvalue()
        assert title in shown
        assert "data: expert │        6.00" in shown


def test_at_least_one_episode():
    with pytest.raises(MisodiceError, match=r"rollout\.episodes: found 0"):
        Rollout(episodes=0)


def test_metrics_of_a_set_of_episodes():
    assert summarise([1.0, 3.0], None, [4, 6]) == {
        "rollout/return": 2.0,
        "rollout/return_std": 1.0,
        "rollout/length": 5.0,
    }
    assert summarise([1.0], [True], [4])["rollout/win_rate"] == 1.0
