"""Which layout a file or folder has, by what is in it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import h5py

from misodice.data.episodes import FORMAT
from misodice.data.hdf5 import check_is_file, open_to_read
from misodice.data.importers.base import Importer, reading
from misodice.data.importers.comadice import ComaDICEImporter
from misodice.data.importers.og_marl import METADATA, OGMARLImporter
from misodice.data.importers.omapl import OMAPLImporter
from misodice.data.importers.omiga import OMIGAImporter
from misodice.data.importers.omiga_smac import OMIGASMACImporter, episode_files
from misodice.errors import MisodiceError
from misodice.runs.parts import import_class

FORMATS: tuple[type[Importer], ...] = (
    OMAPLImporter,
    ComaDICEImporter,
    OMIGAImporter,
    OMIGASMACImporter,
    OGMARLImporter,
)
PICKLE = b"\x80"
HDF5 = b"\x89HDF\r\n\x1a\n"
"""How a file begins, also one that another program has locked, which h5py takes for none."""


def importer_of(path: Path, name: str = "auto") -> Importer:
    """The importer of a file or folder, named or recognised; nothing but its outline is read.

    Args:
        path: the file or folder.
        name: of a layout in `FORMATS`, class path of an `Importer`, or "auto".

    Raises:
        MisodiceError: there is nothing, it is of none of the layouts, it needs no conversion, or there is no such
            importer.
    """
    if not path.exists():
        raise MisodiceError(f"{path}: no such file or folder; correct --input")
    if name == "auto":
        return _folder(path) if path.is_dir() else _file(path)
    return _named(name)(path)


def _named(name: str) -> type[Importer]:
    for importer in FORMATS:
        if importer.name == name:
            return importer
    if "." in name:
        return import_class(name, Importer, "format")  # type: ignore[type-abstract]
    known = ", ".join(importer.name for importer in FORMATS)
    raise MisodiceError(f"format {name!r}: expected auto, {known}, or the class path of an Importer of your own")


def _folder(path: Path) -> Importer:
    if (path / METADATA).is_file():
        return OGMARLImporter(path)
    vaults = sorted(metadata.parent.name for metadata in path.glob(f"*/{METADATA}"))
    if vaults:
        raise MisodiceError(
            f"{path}: holds the vaults {', '.join(vaults)}; convert one at a time: --input {path / vaults[0]}"
        )
    files = episode_files(path)
    if files and _is_torch(files[0]):
        return OMIGASMACImporter(path)
    raise _unknown(path, f"a folder of {len(files)} files that are no OMIGA SMACv1 episodes, and no {METADATA}")


def _file(path: Path) -> Importer:
    check_is_file(path)
    if _start(path) == HDF5 or h5py.is_hdf5(path):
        return _hdf5(path)
    if _is_torch(path):
        return OMIGASMACImporter(path)
    names = _archived(path)
    if any(name.endswith(".npy") for name in names):
        return ComaDICEImporter(path)
    raise _unknown(path, f"a zip archive of {names[:10]}" if names else f"a file that begins with {_start(path)!r}")


def _is_torch(path: Path) -> bool:
    return _start(path).startswith(PICKLE) or any(name.endswith("data.pkl") for name in _archived(path))


def _start(path: Path) -> bytes:
    with reading(path, "a file"), path.open("rb") as file:
        return file.read(8)


def _archived(path: Path) -> list[str]:
    """Names in a zip archive; none where it is none."""
    with reading(path, "a zip archive"):
        if not zipfile.is_zipfile(path):
            return []
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()


def _hdf5(path: Path) -> Importer:
    with open_to_read(path) as file:
        names = {str(name) for name in file}
        own = file.attrs.get("format") == FORMAT
    if own:
        raise MisodiceError(f"{path}: is an episodes file of misodice already; use it as it stands: --data.path {path}")
    for importer, telling in ((OMAPLImporter, {"obs_x", "obs_y"}), (OMIGAImporter, {"s", "o", "a"})):
        if telling <= names:
            return importer(path)
    raise _unknown(path, f"HDF5 with {sorted(names)[:20]}")


def _unknown(path: Path, found: str) -> MisodiceError:
    layouts = "; ".join(f"{importer.name}: {importer.layout}" for importer in FORMATS)
    return MisodiceError(
        f"{path}: found {found}, expected one of the layouts — {layouts}; name the right file, or a layout by --format"
    )
