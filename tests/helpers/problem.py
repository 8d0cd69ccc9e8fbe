"""Small cooperative MDPs whose optimum of Eq. 2-4 is known: a convex program, solved by cvxpy.

States are numbered, every agent sees the number, and in each state one agent alone decides what follows: the
optimal joint policy is then a product of local ones, and a difference from it an error, not a limit of local policies.
Successors are deterministic, since the stages learn from sampled ones (Eq. 7 with one s′ in place of its mean).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import cvxpy
import numpy as np
import torch

from misodice.datamodules.batches import Spec, Step, ValueBatch

N_ACTIONS = 2


@dataclass
class Problem:
    """S states, n agents, J = 2^n joint actions; a row is one (state, joint action), so there are M = S·J of them.

    successor [S, J] (−1 where the episode ends), start [S] sums to 1, expert and union [M]: how often the row stands in
    D_E and in D_U.
    """

    n_agents: int
    successor: np.ndarray
    start: np.ndarray
    expert: np.ndarray
    union: np.ndarray

    @property
    def n_states(self) -> int:
        return len(self.start)

    @property
    def joint(self) -> np.ndarray:
        """Joint action of each number, [J, n]."""
        return np.array(list(product(range(N_ACTIONS), repeat=self.n_agents)))

    @property
    def log_ratio(self) -> np.ndarray:
        """log ρ_E/ρ_U of each row, [M]."""
        return np.log(self.expert / self.expert.sum()) - np.log(self.union / self.union.sum())

    @property
    def spec(self) -> Spec:
        n = self.n_states
        return Spec(self.n_agents, n, n, N_ACTIONS, True, [0.0] * n, [1.0] * n, [0.0] * n, [1.0] * n)

    def flow(self, gamma: float) -> np.ndarray:
        """The matrix F of Eq. 3 as F ρ = (1 − γ) P_0, [S, M]: what leaves a state less what arrives there."""
        n_states, n_joint = self.successor.shape
        matrix = np.zeros((n_states, n_states * n_joint))
        for row, (state, action) in enumerate(product(range(n_states), range(n_joint))):
            matrix[state, row] += 1.0
            if self.successor[state, action] >= 0:
                matrix[self.successor[state, action], row] -= gamma
        return matrix

    def solve(self, alpha: float, gamma: float) -> tuple[np.ndarray, float]:
        """ρ* [M] and the greatest value of −KL(ρ‖ρ_E) − α·KL(ρ‖ρ_U) (Eq. 2), both without normalisation."""
        # In w = ρ/ρ_U, and the cost divided by 1 + α: the solver's accuracy is relative to numbers near 1 then.
        union, w = self.union / self.union.sum(), cvxpy.Variable(len(self.union))
        cost = cvxpy.sum(cvxpy.multiply(union, -cvxpy.entr(w))) - (union * self.log_ratio / (1 + alpha)) @ w
        constraint = self.flow(gamma) @ cvxpy.multiply(union, w) == (1 - gamma) * self.start
        program = cvxpy.Problem(cvxpy.Minimize(cost), [constraint])
        program.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-8, tol_gap_rel=1e-8, tol_feas=1e-8)
        assert program.status == "optimal"
        best = w.value.clip(1e-12)
        value = (union * best * (self.log_ratio - (1 + alpha) * np.log(best))).sum()
        return union * best, float(value)

    def visitation(self, policy: np.ndarray, gamma: float) -> np.ndarray:
        """Occupancy [M] of a joint policy [S, J]."""
        n_states, n_joint = self.successor.shape
        spread = np.zeros((n_states, n_states))
        for state, action in product(range(n_states), range(n_joint)):
            if self.successor[state, action] >= 0:
                spread[self.successor[state, action], state] += policy[state, action]
        states = np.linalg.solve(np.eye(n_states) - gamma * spread, (1 - gamma) * self.start)
        return (states[:, None] * policy).ravel()

    def steps(self, counts: np.ndarray | None = None) -> Step:
        """Rows as the stages see them, each as often as `counts` says (once where None)."""
        rows = np.repeat(np.arange(len(self.union)), 1 if counts is None else counts)
        state, action = np.divmod(rows, self.successor.shape[1])
        return Step(self._obs(state), self._state(state), torch.from_numpy(self.joint[action]))

    def values(self, counts: np.ndarray | None, log_ratio: torch.Tensor, starts: int = 0) -> ValueBatch:
        """The value stage's batch: rows as `counts` says, `starts` initial states in P_0's shares."""
        rows = np.repeat(np.arange(len(self.union)), 1 if counts is None else counts)
        following = self.successor.ravel()[rows]
        state = rows // self.successor.shape[1]
        first = np.repeat(np.arange(self.n_states), np.round(self.start * starts).astype(int))
        return ValueBatch(
            obs=torch.stack([self._obs(state), self._obs(following.clip(0))], dim=1),
            state=torch.stack([self._state(state), self._state(following.clip(0))], dim=1),
            last=torch.from_numpy((following < 0).astype(np.float64)).unsqueeze(1),
            log_ratio=log_ratio[torch.from_numpy(rows)].unsqueeze(1),
            initial_obs=self._obs(first),
            initial_state=self._state(first),
        )

    def _state(self, state: np.ndarray) -> torch.Tensor:
        return torch.eye(self.n_states, dtype=torch.float64)[torch.from_numpy(state)]

    def _obs(self, state: np.ndarray) -> torch.Tensor:
        return self._state(state).unsqueeze(1).expand(-1, self.n_agents, -1)


def total_variation(a: np.ndarray, b: np.ndarray) -> float:
    return 0.5 * float(np.abs(a - b).sum())


def random_problem(
    seed: int,
    n_agents: int = 2,
    n_states: int = 8,
    ending: bool = False,
    starts: int = 100,
    forward: bool = False,
) -> Problem:
    """Counts of product form, so that log ρ_E/ρ_U is a sum over agents; each row occurs in both sets.

    With `ending` one action in each third state ends the episode; with `forward` states lead to later ones alone, so
    that every episode ends whatever is done, as those of a file of episodes do.
    """
    rng = np.random.default_rng(seed)
    joint = np.array(list(product(range(N_ACTIONS), repeat=n_agents)))
    decides = rng.integers(n_agents, size=n_states)
    choices = rng.integers(n_states, size=(n_states, N_ACTIONS))
    if ending:
        choices[::3, 0] = -1
    if forward:
        choices = np.arange(n_states)[:, None] + rng.integers(1, 3, size=(n_states, N_ACTIONS))
        choices[choices >= n_states] = -1
    successor = np.stack([choices[state][joint[:, decides[state]]] for state in range(n_states)])
    start = np.zeros(n_states)
    start[: max(2, n_states // 4)] = 1.0
    start = np.round(starts * start / start.sum()) / np.round(starts * start / start.sum()).sum()

    def counts() -> np.ndarray:
        local = rng.integers(1, 5, size=(n_states, n_agents, N_ACTIONS))
        chosen = np.prod([local[:, i, joint[:, i]] for i in range(n_agents)], axis=0)
        return (rng.integers(1, 4, size=(n_states, 1)) * chosen).ravel()

    return Problem(n_agents, successor, start, counts(), counts())
