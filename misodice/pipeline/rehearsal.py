"""Every stage's networks are made once before the first stage is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch

from misodice.datamodules.batches import Spec
from misodice.modules.stage import Stage


def rehearse(stages: Sequence[Stage], spec: Spec) -> None:
    """Make the networks of copies of the stages, so that what cannot be made is told before hours of training.

    Args:
        stages: those that will be trained; they stay as they are, and so do torch's random numbers.
        spec: sizes of the data.

    Raises:
        MisodiceError: an option of a mixer, a network or a head does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        for stage in stages:
            copy.deepcopy(stage)._build(spec)
