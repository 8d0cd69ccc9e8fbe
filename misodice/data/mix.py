"""Combine episodes files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from misodice.data.episodes import Episodes, EpisodesWriter
from misodice.errors import MisodiceError


def mix(paths: Sequence[str | Path], output: str | Path, seed: int) -> None:
    """Combine files of one environment into one shuffled D_U that keeps every episode's source.

    Raises:
        MisodiceError: the files' environments, or what their actions are divided by, differ.
    """
    inputs = [Episodes.read(path) for path in paths]
    for path, other in zip(paths[1:], inputs[1:], strict=True):
        if other.header.env != inputs[0].header.env:
            raise MisodiceError(
                f"{path}: made in {other.header.env}, but {paths[0]} in "
                f"{inputs[0].header.env}; mix files of one environment"
            )
        if other.header.action_scale != inputs[0].header.action_scale:
            raise MisodiceError(
                f"{path}: action_scale is {other.header.action_scale:g}, but {inputs[0].header.action_scale:g} in "
                f"{paths[0]}; convert both again with the greater as --action_scale"
            )
    order = [(file, index) for file, episodes in enumerate(inputs) for index in range(episodes.n_episodes)]
    np.random.default_rng(seed).shuffle(order)
    with EpisodesWriter(output, replace(inputs[0].header, created_by="misodice mix")) as writer:
        for file, index in order:
            writer.add(inputs[file][index])
