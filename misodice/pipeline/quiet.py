"""Lightning's notes that do not apply here."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

QUIET = (
    "You're using the WeightAveraging callback with a model that overrides",
    # The loaders index tensors in memory: workers would only copy them.
    ".*does not have many workers.*",
    ".*isinstance.treespec, LeafSpec.*",
    ".*have no `validation_step`",
    "Couldn't infer the batch indices",
    "Total length of `list` across ranks is zero",
    "The number of training batches",
    # A rollout is played and logged by one process.
    "It is recommended to use `self.log.*rollout/",
    "Checkpoint directory .* exists and is not empty",
    "Experiment logs directory .* exists and is not empty",
    # Of JAX, about ffmpeg: another program takes the fork's place at once.
    "os.fork.. was called",
)
"""Warnings that do not apply here, most of them Lightning's."""


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advice, and the warnings above, from the terminal while the block runs."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in QUIET:
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
