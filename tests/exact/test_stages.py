"""What each stage learns against the optimum of Eq. 2-4; `pytest -rP` prints the gaps.

Tolerance of all: total variation 0.02. A stage that misses it on a problem that its mixer can represent is wrong.
"""

import numpy as np
import pytest
import torch

from misodice.errors import MisodiceError
from misodice.modules import HyperMixer, LinearMixer, Value, VDNMixer
from tests.helpers.fit_exactly import NETWORK, built, fit_discriminator, fit_policy, fit_value, minimise
from tests.helpers.problem import random_problem, total_variation

TOLERANCE = 0.02
GRID = [
    pytest.param(
        alpha,
        gamma,
        ending,
        objective,
        id=f"{objective}-{'ending' if ending else 'endless'}-{alpha}-{gamma}",
        # Between others that are run.
        marks=[pytest.mark.slow] if alpha in (0.5, 1.0) or (gamma == 0.9 and alpha != 0.05) else [],
    )
    for alpha in (0.0, 0.05, 0.5, 1.0, 10.0)
    for gamma in (0.9, 0.99)
    for ending, objective in ((False, "exp"), (True, "exp"), (False, "logsumexp"))
]


def shares(problem) -> np.ndarray:
    return problem.union / problem.union.sum()


@pytest.mark.parametrize(("alpha", "gamma", "ending", "objective"), GRID)
def test_value_finds_the_program(alpha, gamma, ending, objective):
    problem = random_problem(seed=0, ending=ending)
    rho, best = problem.solve(alpha, gamma)
    log_weight, loss = fit_value(
        problem,
        torch.from_numpy(problem.log_ratio),
        mixer=VDNMixer,
        alpha=alpha,
        gamma=gamma,
        objective=objective,
        mask_last=ending,
    )
    found = np.exp(log_weight) * shares(problem)
    if objective == "logsumexp":  # its weights are known up to a factor
        found /= found.sum()
    gap = total_variation(found, rho)
    print(f"TV {gap:.1e} (tolerance {TOLERANCE}), objective {loss:.6f}, program {best:.6f}, mass {rho.sum():.3f}")
    assert gap < TOLERANCE
    assert loss == pytest.approx(best, abs=5e-3 * max(1.0, abs(best)))


@pytest.mark.parametrize("mixer", [LinearMixer, HyperMixer])
@pytest.mark.parametrize("ending", [False, True])
def test_learnable_mixers_find_it_too(mixer, ending):
    problem = random_problem(seed=1, ending=ending)
    rho, _ = problem.solve(0.05, 0.99)
    log_weight, _ = fit_value(problem, torch.from_numpy(problem.log_ratio), mixer=mixer, gamma=0.99, mask_last=ending)
    gap = total_variation(np.exp(log_weight) * shares(problem), rho)
    print(f"TV {gap:.1e} (tolerance {TOLERANCE})")
    assert gap < TOLERANCE


@pytest.mark.parametrize("mixer", [VDNMixer, LinearMixer, HyperMixer])
def test_discriminator_finds_the_log_ratio(mixer):
    problem = random_problem(seed=2)
    found = fit_discriminator(problem, mixer).numpy()
    gap = np.abs(found - problem.log_ratio)
    tilted = np.exp(found) * shares(problem)
    distance = total_variation(tilted / tilted.sum(), problem.expert / problem.expert.sum())
    print(f"log ratio: greatest gap {gap.max():.3f}, TV of tilted D_U and D_E {distance:.4f} (tolerance {TOLERANCE})")
    assert distance < TOLERANCE
    assert gap.max() < 0.05


def test_discriminator_by_probabilities_of_one_agent():
    """Eq. 13 with n = 1 is the same classifier."""
    problem = random_problem(seed=3, n_agents=1, n_states=12)
    found = fit_discriminator(problem, HyperMixer, "probability").numpy()
    assert np.abs(found - problem.log_ratio).max() < 0.02


CHAINS = [(0, 2, 8, False, 0.05), (1, 2, 8, True, 0.05)]
MORE = [(seed, 2 + seed % 2, 30, bool(seed % 3), alpha) for seed, alpha in enumerate((0.0, 0.05, 0.5, 1.0, 10.0, 0.05))]
MORE += [(2, 3, 6, False, 1.0), (3, 3, 6, True, 0.0)]


@pytest.mark.parametrize(
    ("seed", "n_agents", "n_states", "ending", "alpha"),
    [*CHAINS, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)],
)
def test_the_whole_chain_ends_at_the_optimum(seed, n_agents, n_states, ending, alpha):
    """Discriminator, value and policy one after another: the policy's visitation is ρ*."""
    gamma = 0.9
    problem = random_problem(seed, n_agents, n_states, ending)
    log_ratio = fit_discriminator(problem, VDNMixer)
    rho, _ = problem.solve(alpha, gamma)
    log_weight, _ = fit_value(problem, log_ratio, mixer=VDNMixer, alpha=alpha, gamma=gamma, mask_last=ending)
    found = np.exp(log_weight) * shares(problem)
    policy = fit_policy(problem, np.exp(log_weight))
    visited = problem.visitation(policy, gamma)
    gaps = total_variation(found, rho), total_variation(visited, rho)
    print(f"TV of w ρ_U {gaps[0]:.4f}, of the policy's visitation {gaps[1]:.4f} (tolerance {TOLERANCE})")
    assert max(gaps) < TOLERANCE


def least_loss(objective: str, mask_last: bool, **options) -> float:
    """Where plain gradient steps lead: far below zero where there is no lower bound."""
    problem = random_problem(seed=4, **options)
    stage = built(Value(mixer=VDNMixer, gamma=0.99, mask_last=False, network=NETWORK, objective=objective), problem)
    stage.mask_last = mask_last  # past the constructor's guard
    batch = problem.values(problem.union, torch.from_numpy(problem.log_ratio), 100)
    optimizer = torch.optim.Adam(stage.parameters(), lr=1e-2)
    for _ in range(300):
        optimizer.zero_grad()
        loss = stage.training_step(batch, 0)
        loss.backward()
        optimizer.step()
    return loss.item()


def test_masked_logsumexp_is_unbounded_and_refused():
    """Its primal asks for mass 1, and where every episode ends no occupancy has it."""
    assert least_loss("logsumexp", mask_last=True, forward=True) < -100
    assert least_loss("exp", mask_last=True, forward=True) > -10
    assert least_loss("logsumexp", mask_last=False) > -10
    with pytest.raises(MisodiceError, match="unbounded below"):
        Value(objective="logsumexp", mask_last=True)


def test_unmasked_last_states_run_away():
    """Without mask and without absorbing rows ν of a state that only ever follows goes to −∞, and A with it."""
    problem = random_problem(seed=5, ending=True)
    # The end as a state of its own that no row leaves.
    batch = problem.values(problem.union, torch.from_numpy(problem.log_ratio), 100)
    end = torch.zeros(problem.n_states, dtype=torch.float64) - 1.0
    ends = batch.last.bool()
    batch.obs[:, 1:] = torch.where(ends[..., None, None], end, batch.obs[:, 1:])
    batch.state[:, 1:] = torch.where(ends[..., None], end, batch.state[:, 1:])
    batch.last = torch.zeros_like(batch.last)
    stage = built(Value(mixer=VDNMixer, mask_last=False, network=NETWORK), problem)
    minimise(stage, batch)
    with torch.no_grad():
        value = stage(end.expand(1, problem.n_agents, -1), end[None])
    assert float(value) < -100


def test_logsumexp_and_exp_agree_where_no_mass_leaks():
    problem = random_problem(seed=6)
    log_ratio = torch.from_numpy(problem.log_ratio)
    options = {"mixer": VDNMixer, "gamma": 0.9, "mask_last": False}
    first, second = (fit_value(problem, log_ratio, objective=name, **options)[0] for name in ("exp", "logsumexp"))
    union = shares(problem)
    first, second = (np.exp(x) * union / (np.exp(x) * union).sum() for x in (first, second))
    assert total_variation(first, second) < 1e-3


@pytest.mark.parametrize(("objective", "changes"), [("exp", True), ("logsumexp", False)])
def test_only_logsumexp_ignores_a_constant_shift(objective, changes):
    problem = random_problem(seed=7)
    stage = built(Value(mixer=VDNMixer, gamma=0.9, mask_last=False, network=NETWORK, objective=objective), problem)
    batch = problem.values(problem.union, torch.from_numpy(problem.log_ratio), 100)
    with torch.no_grad():
        before = stage.training_step(batch, 0).item()
        stage.local.output.bias += 0.5
        after = stage.training_step(batch, 0).item()
    assert (abs(after - before) > 1e-3) == changes
