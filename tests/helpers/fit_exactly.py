"""The shipped stages on a `Problem`, trained by L-BFGS on all of it at once, so that what is left is the maths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from misodice.datamodules.batches import DiscriminatorBatch, PolicyBatch
from misodice.modules import Discriminator, Policy, Value
from misodice.modules.networks import AgentMLP
from misodice.modules.stage import Stage
from tests.helpers.problem import Problem

NETWORK = partial(AgentMLP, hidden=(64, 64))


def built(stage: Stage, problem: Problem) -> Any:
    torch.manual_seed(0)
    stage._build(problem.spec)
    return stage.double()


def minimise(stage: Stage, batch: Any, iterations: int = 150) -> float:
    """The least training loss of `stage` on one batch."""
    # L-BFGS ends at the next flat place; a mixer with |w(s)| in it has some on the way.
    rough = torch.optim.Adam(stage.parameters(), lr=3e-3)
    for _ in range(200):
        rough.zero_grad()
        stage.training_step(batch, 0).backward()
        rough.step()
    exact = {"max_iter": iterations, "history_size": 50, "tolerance_grad": 1e-9, "tolerance_change": 1e-14}
    optimizer = torch.optim.LBFGS(stage.parameters(), line_search_fn="strong_wolfe", **exact)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = stage.training_step(batch, 0)
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()


def fit_discriminator(problem: Problem, mixer: Callable[..., Any], mixing: str = "logit") -> torch.Tensor:
    """log_ratio of each row, [M]."""
    stage = built(Discriminator(mixer, mixing, network=NETWORK), problem)
    # Each row once; what it counts is its share of D_E and of D_U.
    rows = len(problem.union)
    shares = (torch.from_numpy(counts / counts.sum()) * rows for counts in (problem.expert, problem.union))
    minimise(stage, DiscriminatorBatch(problem.steps(), *shares))
    with torch.no_grad():
        return stage.predict_step(problem.steps(), 0)["log_ratio"]


def fit_value(problem: Problem, log_ratio: torch.Tensor, starts: int = 100, **options: Any) -> tuple[np.ndarray, float]:
    """Log weights of each row, [M], and the least loss."""
    stage = built(Value(network=NETWORK, **options), problem)
    loss = minimise(stage, problem.values(problem.union, log_ratio, starts))
    with torch.no_grad():
        return stage.predict_step(problem.values(None, log_ratio), 0)["weight"].numpy(), loss


def fit_policy(problem: Problem, weight: np.ndarray) -> np.ndarray:
    """The joint policy [S, J] that weighted BC on D_U gives."""
    stage = built(Policy(network=NETWORK), problem)
    step = problem.steps(problem.union)
    rows = torch.from_numpy(np.repeat(weight / (weight * problem.union).sum() * problem.union.sum(), problem.union))
    minimise(stage, PolicyBatch(step.obs, step.actions, None, rows))
    states = problem._obs(np.arange(problem.n_states))
    with torch.no_grad():
        local = torch.softmax(stage(states), dim=-1).numpy()
    return np.prod([local[:, i, problem.joint[:, i]] for i in range(problem.n_agents)], axis=0)
