"""The subcommands beside LightningCLI's: for episodes files, for many runs, for a policy, for this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from jsonargparse import auto_cli
from rich.console import Console
from rich.table import Table

from misodice.data.episodes import Episodes
from misodice.doctor import doctor_command
from misodice.envs import EnvConfig
from misodice.errors import MisodiceError
from misodice.rollout.collect import Source, collect, default_sources, mix


def collect_command(output: str, env: EnvConfig, sources: list[Source] | None = None, seed: int = 0) -> None:
    """Roll behaviour policies out into an episodes file.

    Args:
        output: file to write.
        env: which environment.
        sources: who acts, how often, under which name; null is the paper's 200 expert and 1000 poor episodes.
        seed: of everything random.
    """
    collect(env, sources or default_sources(env), output, seed)


def mix_command(inputs: list[str], output: str, seed: int = 0) -> None:
    """Combine episodes files of one environment into one shuffled D_U.

    Args:
        inputs: files to combine.
        output: file to write.
        seed: of the shuffle.
    """
    mix(inputs, output, seed)


def convert_command(
    input: str,
    output: str,
    env: EnvConfig,
    source: str | None = None,
    format: Literal["auto", "omapl", "comadice", "omiga", "omiga_smac", "og_marl"] = "auto",
    action_scale: float | None = None,
) -> None:
    """Turn another project's data set file into an episodes file.

    Args:
        input: O-MAPL's H5, ComaDICE's npz, OMIGA's hdf5 or folder of SMACv1 episodes, or an OG-MARL vault's folder.
        output: file to write; O-MAPL's preferences go beside it, as {stem}.preferences.jsonl.
        env: environment of the rollouts; engine "auto" is starcraft2 for discrete actions and mamujoco for others.
        source: name written beside each episode (expert, medium, poor…), hidden from training.
        format: layout of the input; auto tells it by the contents.
        action_scale: what continuous actions are divided by; null is 1 where all are within ±1, 4 where all are within
            ±4 as in ComaDICE, and else the greatest, rounded up.
    """
    from misodice.conversion import convert  # late: other commands have no use for it

    convert(input, output, env, source, format, action_scale, Console(stderr=True, soft_wrap=True))


def info_command(path: str, plot: str | None = None) -> None:
    """Describe an episodes file, as the paper's Table 2 does.

    Args:
        path: the file.
        plot: picture of the returns' histogram to write (.png).
    """
    episodes = Episodes.read(path)
    console = Console()
    env = episodes.header.env
    table = Table(title=path)
    for name in ("engine", "task", "trajectories", "samples", "agents", "state", "obs", "actions"):
        table.add_column(name)
    sizes = (episodes.n_episodes, episodes.n_transitions, episodes.n_agents, episodes.state.shape[1])
    table.add_row(env["engine"], env["task"], *map(str, (*sizes, episodes.obs.shape[2], episodes.n_actions)))
    console.print(table)
    returns = Table("source", "episodes", "return", "length", "win rate")
    source = np.full(episodes.n_episodes, "all") if episodes.source is None else episodes.source
    for name in np.unique(source):
        chosen = source == name
        returns.add_row(
            str(name),
            str(chosen.sum()),
            "–" if episodes.returns is None else _spread(episodes.returns[chosen]),
            _spread(episodes.length[chosen]),
            "–" if episodes.won is None else f"{episodes.won[chosen].mean():.2f}",
        )
    console.print(returns)
    for what in ("obs_features", "state_features"):
        names = getattr(episodes.header, what)
        console.print(f"{what} ({len(names)}): {', '.join(names)}", soft_wrap=True, highlight=False)
    if plot:
        _histogram(episodes, source, path, plot)
        console.print(f"written: {plot}")


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ± {values.std():.2f}"


def _histogram(episodes: Episodes, source: np.ndarray, path: str, plot: str) -> None:
    if episodes.returns is None:
        raise MisodiceError(f"{path}: field 'episode/return' is missing, which --plot shows")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MisodiceError("--plot needs matplotlib: pip install 'misodice[plot]'") from error
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    names = list(np.unique(source))
    axes.hist([episodes.returns[source == name] for name in names], bins=40, stacked=True, label=names)
    axes.set(xlabel="return", ylabel="episodes", title=f"{episodes.header.env['task']}")
    axes.legend()
    figure.savefig(plot, dpi=150)


def report_command(runs: str | list[str], output: str = "report", method: str = "misodice") -> None:
    """Make tables, figures and one static page of finished runs.

    Args:
        runs: folder, or folders, that `misodice fit` or `benchmark` wrote into; searched to any depth.
        output: folder to write index.html, tables/ and figures/ into.
        method: whose probability of being better than each other method is estimated.
    """
    from misodice.report.report import report

    report(runs, output, method)


def benchmark_command(grid: str, root: str = "runs", address: str | None = None, dry_run: bool = False) -> int:
    """Train every cell of a grid that is not done, on Ray.

    Args:
        grid: YAML file of tasks, methods and seeds, such as configs/benchmark/quick.yaml.
        root: results go to <root>/<name of the grid>.
        address: of a Ray cluster to join, such as auto; null starts Ray on this machine.
        dry_run: list the cells and how far each is, and do nothing else.
    """
    from misodice.grid.runner import benchmark  # late: other commands have no use for it

    return benchmark(Path(grid), Path(root), address, dry_run)


def export_command(
    ckpt_path: str, format: Literal["onnx", "torchscript", "pt2"] = "onnx", output: str | None = None
) -> None:
    """Write one agent's policy as a file that acts without misodice, and check it against the original.

    Args:
        ckpt_path: checkpoint of a policy, such as runs/smacv2_zerg/misodice/seed_0/policy/last.ckpt.
        format: of the file: onnx runs under onnxruntime alone, torchscript and pt2 under torch alone.
        output: file to write; null is the checkpoint's name with the suffix .onnx, .pt or .pt2.
    """
    from misodice.export import export

    path, difference = export(Path(ckpt_path), format, Path(output) if output else None)
    Console(soft_wrap=True).print(
        f"written: {path} (on {difference.rows} random inputs: outputs differ by at most {difference.greatest:.2g}, "
        f"{difference.equal_actions:.2%} of greedy actions are equal)",
        highlight=False,
    )


COMMANDS: dict[str, Callable[..., int | None]] = {
    "collect": collect_command,
    "convert": convert_command,
    "mix": mix_command,
    "info": info_command,
    "benchmark": benchmark_command,
    "report": report_command,
    "export": export_command,
    "doctor": doctor_command,
}


def run_command(arguments: Sequence[str]) -> int:
    """Run one of `COMMANDS` on its arguments; its exit status."""
    command = COMMANDS[arguments[0]]
    given = list(arguments[1:])
    return auto_cli(command, args=given, prog=f"misodice {arguments[0]}", as_positional=False) or 0
