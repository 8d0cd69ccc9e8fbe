"""Weightings: what becomes of the weight column before the policy learns from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from misodice.modules import dice
from misodice.runs.limits import limited, number
from misodice.runs.parts import Part


class Weighting(Part, ABC):
    """Base class of weightings; `policy.weighting` lists some, which are applied in order."""

    needs_experts: ClassVar[bool] = False
    """Whether `expert` must be known."""

    @abstractmethod
    def __call__(self, weight: Tensor, length: Tensor, expert: Tensor | None) -> Tensor:
        """New weights of mean 1 for every transition of D_U.

        Args:
            weight: [T] or [T, n], of mean 1.
            length: transitions of each episode, int64 [E] with sum T.
            expert: whether each transition is in D_E, bool [T]; None unless `needs_experts`.
        """


class ByEpisode(Weighting):
    """All steps of an episode weigh the same: the square of the geometric mean of their weights. Not in the paper."""

    def __call__(self, weight: Tensor, length: Tensor, expert: Tensor | None) -> Tensor:
        return dice.weigh_by_episode(weight, length)


class TopP(Weighting):
    """The greatest weights alone are kept: those that together carry the share `top_p`. Not in the paper.

    Args:
        top_p: share of all weight that is kept; 1 keeps all.

    Raises:
        MisodiceError: top_p is no share.
    """

    @limited(top_p=number("a share, more than 0 and at most 1, which keeps all weights", 0.0, 1.0, without=[0.0]))
    def __init__(self, top_p: float = 0.8) -> None:
        self.top_p = top_p

    def __call__(self, weight: Tensor, length: Tensor, expert: Tensor | None) -> Tensor:
        return weight if self.top_p == 1 else dice.top_p_weights(weight, self.top_p)
