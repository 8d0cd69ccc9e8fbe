"""Config files: the user's own, and those that come with the package."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import misodice
from misodice.errors import MisodiceError
from misodice.runs.files import write_bytes

# In a checkout a link to the repository's configs/; a wheel has a copy of its files.
SHIPPED = Path(misodice.__file__).parent / "configs"
OWN = Path("configs")


def find_config(name: str, option: str, beside: Path | None = None) -> Path:
    """The file that a user names: the user's own where there is one, else the one that comes with the package.

    Args:
        name: a path (configs/methods/bc_0.yaml), or a short name of a file below configs/ (methods/bc_0, bc_0).
        option: where the name was given, for messages.
        beside: folder of the file in which the name stands; it is searched first.

    Raises:
        MisodiceError: there is no such file.
    """
    for folder in ([] if beside is None else [beside]) + [Path()]:
        for file in (folder / name, folder / f"{name}.yaml"):
            if file.is_file():
                return file
    short = name.removeprefix("./").removeprefix("configs/").removesuffix(".yaml")
    for folder in (OWN, SHIPPED):
        for file in _files(folder):
            if short in _names(file, folder):
                return file
    known = [_names(file, folder) for folder in (OWN, SHIPPED) for file in _files(folder)]
    if any((folder / name).is_dir() for folder in ([] if beside is None else [beside]) + [Path()]):
        raise MisodiceError(f"{option}: {name} is a folder, expected a YAML file; name one in it")
    near = get_close_matches(short, sorted({each for names in known for each in names}), cutoff=0.5)
    listed = ", ".join(near or dict.fromkeys(path for path, _ in known))
    raise MisodiceError(
        f"{option}: {name} does not exist, neither in the current folder nor among the shipped configs; near names: "
        f"{listed}. `misodice configs --output configs` copies the shipped ones out"
    )


def copy_configs(output: Path) -> list[Path]:
    """Copy the shipped configs into a folder; those that are there and equal stay.

    Returns:
        Every file, in the folder.

    Raises:
        MisodiceError: a file of the same name has other content, or nothing can be written there.
    """
    contents = {output / file.relative_to(SHIPPED): file.read_bytes() for file in _files(SHIPPED)}
    changed = [path for path, content in contents.items() if path.exists() and path.read_bytes() != content]
    if changed:
        raise MisodiceError(
            f"--output: {', '.join(map(str, changed))} differ from the shipped files and are not replaced; name "
            "another folder, or move them away"
        )
    for path, content in contents.items():
        if not path.exists():
            write_bytes(path, content)
    return list(contents)


FILE_OPTIONS = ("path", "template")
"""Options that name a file."""


def with_whole_paths(block: dict[str, Any]) -> dict[str, Any]:
    """A block of a config, in which files that exist are named by paths that hold in every folder."""
    whole: dict[str, Any] = {}
    for name, value in block.items():
        if isinstance(value, dict):
            whole[name] = with_whole_paths(value)
        elif name in FILE_OPTIONS and isinstance(value, str) and Path(value).is_file():
            whole[name] = str(Path(value).resolve())
        else:
            whole[name] = value
    return whole


def _files(folder: Path) -> Iterator[Path]:
    """Those at the top of the folder first."""
    yield from sorted(folder.rglob("*.yaml"), key=lambda file: (len(file.parts), file))


def _names(file: Path, folder: Path) -> tuple[str, str]:
    """methods/bc_0 and bc_0."""
    return file.relative_to(folder).with_suffix("").as_posix(), file.stem
