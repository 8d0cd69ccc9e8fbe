from __future__ import annotations

import importlib.metadata

import pytest

import misodice
from misodice.runs import run_dir as run


def test_versions_need_no_installed_misodice(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = importlib.metadata.version

    def of_a_checkout_on_the_path_alone(package: str) -> str:
        if package == "misodice":
            raise importlib.metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(run, "version", of_a_checkout_on_the_path_alone)
    others = {package: installed(package) for package in ("torch", "lightning", "numpy", "gymnasium")}
    assert run.versions() == {"misodice": misodice.__version__} | others
