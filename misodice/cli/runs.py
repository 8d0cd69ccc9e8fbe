"""Commands for many runs, and for what is left of one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from misodice.runs.configs import copy_configs
from misodice.runs.console import console


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
    ckpt_path: str,
    format: Literal["onnx", "torchscript", "pt2"] = "onnx",
    output: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write one agent's policy as a file that acts without misodice, and check it against the original.

    Args:
        ckpt_path: checkpoint of a policy, such as runs/smacv2_zerg/misodice/seed_0/policy/last.ckpt.
        format: of the file: onnx runs under onnxruntime alone, torchscript and pt2 under torch alone.
        output: file to write; null is the checkpoint's name with the suffix .onnx, .pt or .pt2.
        overwrite: replace a file that is there under the name of output.
    """
    from misodice.export import export

    path, difference = export(Path(ckpt_path), format, Path(output) if output else None, overwrite)
    console().print(
        f"written: {path} (on {difference.rows} random inputs: outputs differ by at most {difference.greatest:.2g}, "
        f"{difference.equal_actions:.2%} of greedy actions are equal)"
    )


def configs_command(output: str) -> None:
    """Copy the shipped config files into a folder; files that are there and differ are not replaced.

    Args:
        output: folder to write into; configs is where the commands of the documentation look for them.
    """
    files = copy_configs(Path(output))
    console().print(f"{len(files)} config files are in {output}")
