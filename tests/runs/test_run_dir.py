"""What a run's folder says of the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path

import misodice

PROGRAM = """
import json
from importlib.metadata import PackageNotFoundError, version
from misodice.runs.run_dir import versions
try:
    installed = version("misodice")
except PackageNotFoundError:
    installed = None
print(json.dumps([installed, versions()]))
"""


def test_versions_need_no_installed_misodice(tmp_path: Path) -> None:
    """A checkout that is on the path alone, beside all packages but misodice itself."""
    for folder in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for entry in Path(folder).iterdir():
            # Neither the metadata of an installed misodice nor what leads an editable one to the checkout.
            if "misodice" not in entry.name:
                (tmp_path / "packages" / entry.name).parent.mkdir(exist_ok=True)
                (tmp_path / "packages" / entry.name).symlink_to(entry)
    (tmp_path / "checkout").mkdir()
    (tmp_path / "checkout" / "misodice").symlink_to(Path(misodice.__file__).parent)
    path = os.pathsep.join(str(tmp_path / name) for name in ("checkout", "packages"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", PROGRAM],  # -S: without the folder of installed packages
        cwd=tmp_path,
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    others = {package: version(package) for package in ("torch", "lightning", "numpy", "gymnasium")}
    assert json.loads(done.stdout) == [None, {"misodice": misodice.__version__} | others]
