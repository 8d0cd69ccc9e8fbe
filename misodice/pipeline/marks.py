"""The fingerprints of a run's stages: what made each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from misodice import __version__
from misodice.datamodules.options import Data
from misodice.modules.stage import Stage
from misodice.pipeline.order import columns_read
from misodice.pipeline.trainers import TrainerOptions
from misodice.runs.fingerprint import STAGE_LENGTH, TRAINER_LENGTH, fingerprint
from misodice.runs.parts import config_of


@dataclass(frozen=True)
class Marks:
    """Fingerprints.

    Args:
        stages: of each stage by name: its class, options and source, the columns that it reads, D_E if it knows it,
            and the data.
        resume: the same without how long the stage itself trains, if that may change, and without callbacks: a
            checkpoint of such a stage can be gone on from.
        labels: of labels.h5.
    """

    stages: dict[str, str]
    resume: dict[str, str]
    labels: str


def marks_of(
    stages: Sequence[Stage], data: Data, digest: str, trainer: TrainerOptions, seed: int, answers: str | None
) -> Marks:
    """The fingerprints of `stages`, which are in order.

    Args:
        stages: those to be trained.
        data: how D_E is chosen.
        digest: of the episodes.
        trainer: its options.
        seed: of everything random.
        answers: fingerprint of the labelled pairs; None where there are none.
    """
    options = trainer.that_count
    going_on = {name: value for name, value in options.items() if name != "callbacks"}
    source = digest, __version__
    finished: dict[str, str] = {}
    resume: dict[str, str] = {}
    written: dict[str, str] = {}
    for stage in stages:
        inputs: list[Any] = [written[column] for column in columns_read(stage, data.ranking)]
        if stage.needs_experts:
            inputs += [data.ranking, data.k, data.held_out]
        inputs.append(answers if stage.needs_pairs else data.batch_size)
        met: list[Any] = []
        own = config_of(stage, met)
        finished[stage.name] = fingerprint((source, seed, options, trainer.objects), stage.name, own, met, inputs)
        length = going_on
        if stage.any_length:
            own = own | {"init_args": _without(own.get("init_args", {}), STAGE_LENGTH)}
            length = _without(going_on, TRAINER_LENGTH)
        resume[stage.name] = fingerprint((source, seed, length), stage.name, own, met, inputs)
        written |= dict.fromkeys(stage.writes, finished[stage.name])
    return Marks(finished, resume, fingerprint(source, data.ranking, data.k, written.get("reward")))


def _without(options: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in names}
