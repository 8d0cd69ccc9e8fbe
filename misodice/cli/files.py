"""Commands for episodes files."""

from __future__ import annotations

from misodice.conversion import convert
from misodice.data.info import info
from misodice.data.mix import Optional, mix
from misodice.envs import Engine, Source
from misodice.rollout.collect import collect
from misodice.runs.console import console


def collect_command(
    output: str, env: Engine, sources: list[Source] | None = None, seed: int = 0, overwrite: bool = False
) -> None:
    """Roll behaviour policies out into an episodes file.

    Args:
        output: file to write.
        env: which environment.
        sources: who acts, how often, under which name; null is the paper's 200 expert and 1000 poor episodes.
        seed: of everything random.
        overwrite: replace the output where it exists already.
    """
    engine = env.resolve(console(stderr=True))
    collect(engine, engine.default_sources() if sources is None else sources, output, seed, overwrite=overwrite)


def mix_command(
    inputs: list[str], output: str, seed: int = 0, drop: list[Optional] | None = None, overwrite: bool = False
) -> None:
    """Combine episodes files of one environment into one shuffled D_U.

    Args:
        inputs: files to combine.
        output: file to write.
        seed: of the shuffle.
        drop: fields to leave out, some of rewards, return, won, source, where not all files have them.
        overwrite: replace the output where it exists already.
    """
    mix(inputs, output, seed, drop or [], overwrite)


def convert_command(
    input: str,
    output: str,
    env: Engine | None = None,
    source: str | None = None,
    format: str = "auto",
    action_scale: float | None = None,
    overwrite: bool = False,
) -> None:
    """Turn another project's data set file into an episodes file.

    Args:
        input: O-MAPL's H5, ComaDICE's npz, OMIGA's hdf5 or folder of SMACv1 episodes, or an OG-MARL vault's folder.
        output: file to write; O-MAPL's preferences go beside it, as {stem}.preferences.jsonl.
        env: environment of the rollouts; null is StarCraft2 for discrete actions and MaMuJoCo for others.
        source: name written beside each episode (expert, medium, poor…), hidden from training.
        format: layout of the input: omapl, comadice, omiga, omiga_smac, og_marl, or the class path of your own
            Importer; auto tells it by the contents.
        action_scale: what continuous actions are divided by; null is 1 where all are within ±1, 4 where all are within
            ±4 as in ComaDICE, and else the greatest, rounded up.
        overwrite: replace the outputs where they exist already.
    """
    convert(input, output, env, source, format, action_scale, console(stderr=True), overwrite)


def info_command(path: str, plot: str | None = None, overwrite: bool = False) -> None:
    """Describe an episodes file, as the paper's Table 2 does.

    Args:
        path: the file.
        plot: picture of the returns' histogram to write (.png, .pdf, .svg and others).
        overwrite: replace the picture where it exists already.
    """
    info(path, plot, overwrite)
