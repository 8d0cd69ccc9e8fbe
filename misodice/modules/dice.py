"""The maths of MisoDICE (arXiv 2505.18595) as pure functions of tensors; equation numbers are the paper's.

B is a batch of transitions (or [B, n] for the independent baseline, one column an agent).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

# exp is continued by its tangent above this exponent: e^20 is far from fp32's overflow at 88, also when squared by
# Adam, and unlike a clamp the gradient goes on pulling such an advantage down.
EXP_CAP = 20.0


def discriminator_loss(logit: Tensor, expert: Tensor, union: Tensor) -> Tensor:
    """−J(c) of Eq. 9 with c = σ(logit): −E_E[log c] − E_U[log(1 − c)], both expectations from one sample.

    Shapes: logit [B] or [B, n]; importance weights [B] of the sample for E_E and for E_U -> scalar.
    """
    return (like(expert, logit) * softplus(-logit) + like(union, logit) * softplus(logit)).mean()


def like(each: Tensor, values: Tensor) -> Tensor:
    """One number a transition, [B], so that it multiplies values [B], or [B, n] of independent agents."""
    return each if values.ndim == each.ndim else each.unsqueeze(-1)


def mix_probabilities(logits: Tensor, log_eta: Tensor) -> Tensor:
    """Logit of c = Σ_i η_i σ(z_i) (Eq. 13), computed without leaving log space.

    Shapes: logits [B, n], log_eta [B, n] with Σ_i exp(log_eta) = 1 -> [B].
    """
    log_c = torch.logsumexp(log_eta + logsigmoid(logits), dim=-1)
    log_not_c = torch.logsumexp(log_eta + logsigmoid(-logits), dim=-1)
    return log_c - log_not_c


def advantage(log_ratio: Tensor, nu: Tensor, next_nu: Tensor, last: Tensor, gamma: float) -> Tensor:
    """A_ν of Eq. 7 with the sampled successor: log ρ_E/ρ_U + γ·(1 − last)·ν(s′) − ν(s).

    `last` marks every final transition of an episode, terminated or truncated: a final state appears only as a
    successor, so nothing would hold ν there and it would run to −∞.
    """
    return log_ratio + gamma * (1.0 - last) * next_nu - nu


def log_weight(advantage: Tensor, alpha: float) -> Tensor:
    """log w* of Eq. 8: A/(1 + α) − 1."""
    return advantage / (1.0 + alpha) - 1.0


def capped_exp(x: Tensor, cap: float = EXP_CAP) -> Tensor:
    """exp(x), continued by its tangent above `cap`: finite, convex, and with a gradient everywhere."""
    return torch.exp(x.clamp(max=cap)) * (1.0 + (x - cap).clamp(min=0.0))


def value_loss_exp(initial_nu: Tensor, advantage: Tensor, alpha: float, gamma: float) -> Tensor:
    """L of Eq. 6 with the inner maximisation put in (A.1): (1 − γ)·E_s0[ν(s0)] + (1 + α)·E_U[w*] -> scalar."""
    return (1.0 - gamma) * initial_nu.mean() + (1.0 + alpha) * capped_exp(log_weight(advantage, alpha)).mean()


def value_loss_logsumexp(initial_nu: Tensor, advantage: Tensor, alpha: float, gamma: float) -> Tensor:
    """DemoDICE's form, (1 − γ)·E_s0[ν(s0)] + (1 + α)·log E_U[exp(A/(1 + α))] -> scalar.

    Equal to `value_loss_exp` after optimising over a constant shift of ν, which holds only where no mass leaks: with
    masked last transitions it is unbounded below. Use it with absorbing rows.
    """
    flat = (advantage / (1.0 + alpha)).flatten(0, 0)
    log_mean = torch.logsumexp(flat, dim=0) - math.log(len(flat))
    return (1.0 - gamma) * initial_nu.mean() + (1.0 + alpha) * log_mean.mean()


def normalise_weights(log_weight: Tensor, max_weight: float) -> Tensor:
    """Weights of mean 1 over the whole of D_U, clipped at the top, from log space.

    Shapes: [T] or [T, n] -> the same; each column is normalised alone. The clip keeps one transition from standing
    for the whole set; after it the mean is made 1 again.
    """
    log_mean = torch.logsumexp(log_weight, dim=0) - math.log(len(log_weight))
    weight = torch.exp((log_weight - log_mean).clamp(max=math.log(max_weight)))
    return weight / weight.mean(dim=0)


def weigh_by_episode(weight: Tensor, length: Tensor) -> Tensor:
    """The square of the geometric mean of its episode's weights, for every step of it, scaled to mean 1 again.

    Not in the paper. One team made all of an episode, so its other steps tell of this one too, and w of one step alone
    is noisy. A mean varies less than w; the square gives the better episodes their lead again. Weights under 1e-6 are
    taken for that: one step unlike all others must not decide.

    Shapes: weight [T] or [T, n], length int64 [E] with sum T -> as weight; each column alone.
    """
    episode = torch.repeat_interleave(length)
    log_weight = weight.double().clamp(min=1e-6).log()
    total = log_weight.new_zeros(len(length), *weight.shape[1:]).index_add(0, episode, log_weight)
    mean = total / length.reshape(-1, *[1] * (weight.ndim - 1))
    weighed = torch.exp(2.0 * mean)[episode]
    return (weighed / weighed.mean(dim=0)).to(weight.dtype)


def top_p_weights(weight: Tensor, top_p: float) -> Tensor:
    """The greatest weights, which carry `top_p` of all, scaled to mean 1 again; the others are 0.

    Not in the paper. What poor episodes do a little like D_E has little weight, but there is much of it. Equal weights
    are kept or left out together. Shapes: [T] or [T, n] -> the same; each column alone.
    """
    ordered = weight.double().sort(dim=0, descending=True).values
    greater = ordered.cumsum(dim=0) - ordered
    least = ordered.where(greater < top_p * ordered.sum(dim=0), math.inf).amin(dim=0)
    kept = weight.where(weight >= least, 0.0)
    return kept / kept.mean(dim=0)


def bc_weights(expert: Tensor, beta: float) -> Tensor:
    """Weights of mean 1 of the baseline BC: β·1[D_E]/|D_E| + (1 − β)/|D_U|, times |D_U|. Shapes: bool [T] -> [T]."""
    share = expert.float().mean()
    return (1.0 - beta) + beta * expert.float() / share


def effective_sample_size(weight: Tensor) -> Tensor:
    """(Σw)² / (T·Σw²) in (0, 1]: the share of D_U that carries the weights. Shapes: [T, …] -> scalar mean."""
    return (weight.sum(dim=0) ** 2 / (len(weight) * (weight**2).sum(dim=0))).mean()


def weight_metrics(weight: Tensor) -> dict[str, float]:
    """What is logged about finished weights [T] or [T, n]."""
    return {
        "value/effective_sample_size": float(effective_sample_size(weight.double())),
        "value/max_weight": float(weight.max()),
    }


def weighted_bc_loss(log_prob: Tensor, weight: Tensor) -> Tensor:
    """−E_U[w·Σ_i log π_i(a_i|o_i)]/n of Eq. 11. Shapes: log_prob [B, n], weight [B] or [B, n] -> scalar."""
    if weight.ndim == 1:
        weight = weight.unsqueeze(-1)
    return -(weight * log_prob).mean()


def preference_loss(margin: Tensor, first: Tensor) -> Tensor:
    """Bradley-Terry cross-entropy −log σ(±margin) of Σr(first episode) − Σr(second) (paper 4, O-MAPL).

    Shapes: margin [P], first [P] with 1 where the first episode is the better one, 0 where the second -> scalar.
    """
    return softplus(torch.where(first > 0, -margin, margin)).mean()


def extreme_value_loss(z: Tensor, clip: float = 10.0) -> Tensor:
    """Gumbel regression E[e^z − z − 1] of Extreme-V with z = w_i(q_i − v_i)/β, whose optimum is the soft maximum.

    Beyond ±`clip` the exponential is followed along its tangent, so that the gradient lives on. Shapes: any -> scalar.
    """
    inner = z.clamp(-clip, clip)
    return (torch.exp(inner) * (1.0 + z - inner) - z - 1.0).mean()
