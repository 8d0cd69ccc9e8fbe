"""`misodice doctor`: what is installed and usable here, with the remedy for what is not.

Nothing that may be broken is imported: each package is tried in a process of its own, so a doctor's visit ends even
where a package aborts its process or hangs.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from json import dumps
from typing import Literal

from rich.box import SIMPLE
from rich.text import Text

from misodice.doctor.probes import ABSENT
from misodice.runs.console import Table, console
from misodice.runs.processes import end_group

PYTHON = (3, 11)
PROBE_SECONDS = 120.0
"""Importing torch or jax from a slow network disk takes its time; more means that it hangs."""
MAIN_JOB = "misodice fit --config configs/smacv2_zerg.yaml"
STARCRAFT = "docs/install.md, StarCraft II"
OPENAI_URL = "https://api.openai.com/v1"
COLOURS = {"ok": "green", "missing": "yellow", "broken": "red"}


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Args:
        name: what was looked at.
        status: "ok" is usable, "missing" is not installed or not set, "broken" is there and fails.
        found: version, device, path, or how it fails.
        remedy: what to do; empty where all is well.
    """

    name: str
    status: Literal["ok", "missing", "broken"]
    found: str
    remedy: str = ""


@dataclass(frozen=True)
class Probe:
    """A function of `misodice.doctor.probes`, the packages it needs, and what to do where it fails."""

    name: str
    probe: str
    packages: tuple[str, ...]
    remedy: str


PROBES = (
    Probe("torch", "torch", ("torch",), "pip install torch: pytorch.org/get-started has the builds for GPU drivers"),
    Probe("lightning", "lightning", ("lightning",), "pip install 'lightning>=2.6'"),
    Probe("misodice", "misodice", (), "pip install --force-reinstall misodice"),
    Probe("jaxmarl (engine smax)", "jaxmarl", ("jaxmarl",), "pip install 'misodice[smax]'"),
    Probe("MuJoCo", "mujoco", ("mujoco", "gymnasium_robotics"), "pip install 'misodice[mamujoco]'"),
    Probe(
        "MuJoCo rendering",
        "rendering",
        ("mujoco", "gymnasium_robotics"),
        "without a screen: install libegl1 with MUJOCO_GL unset, or libosmesa6 with MUJOCO_GL=osmesa",
    ),
    Probe("smacv2", "smacv2", ("smacv2",), f"from its repository: {STARCRAFT}"),
    Probe("StarCraft II", "game", (), f"unpack the game, or set SC2PATH to its folder: {STARCRAFT}"),
    Probe("StarCraft II maps", "maps", (), f"unpack SMAC_Maps into $SC2PATH/Maps: {STARCRAFT}"),
    Probe("engine of SMAC", "engine", (), "pip install --force-reinstall misodice"),
    Probe("Ray (benchmark)", "ray", ("ray",), "pip install 'misodice[benchmark]'"),
    Probe("ONNX (export)", "onnx", ("onnx", "onnxscript", "onnxruntime"), "pip install 'misodice[export]'"),
    Probe("LLM client", "llm", ("openai", "jinja2"), "pip install 'misodice[llm]'"),
)


def doctor_command(base_url: str | None = None, json: bool = False) -> int:
    """Say what is installed and usable, each with the remedy; exit status 0 when the main job can run.

    Args:
        base_url: of the LLM server to ask for its models; null is $OPENAI_BASE_URL or OpenAI's own where a key is set.
        json: print JSON instead of a table.
    """
    checks = diagnose(base_url)
    able, verdict = main_job(checks)
    if json:
        print(dumps({"main_job": able, "verdict": verdict, "checks": [asdict(check) for check in checks]}, indent=2))
        return int(not able)
    table = Table(box=SIMPLE)
    for column in ("", "status", "found", "remedy"):
        table.add_column(column)
    for check in checks:
        table.add_row(check.name, Text(check.status, COLOURS[check.status]), Text(check.found), Text(check.remedy))
    say = console()
    say.print(table)
    say.print(Text(verdict, COLOURS["ok" if able else "broken"]))
    return int(not able)


def diagnose(base_url: str | None = None) -> list[Check]:
    """Every check, in the table's order."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        endpoint = pool.submit(_endpoint, base_url)
        return [_python(), *pool.map(_probe, PROBES), _key(), endpoint.result()]


def main_job(checks: Sequence[Check]) -> tuple[bool, str]:
    """Whether `MAIN_JOB` can run on the engine that SMAC stands for here, and a sentence that says so."""
    by_name = {check.name: check for check in checks}

    def bad(*names: str) -> list[str]:
        return [f"{name} is {by_name[name].status}" for name in names if by_name[name].status != "ok"]

    core = bad("Python", "torch", "lightning", "misodice")
    smax = bad("jaxmarl (engine smax)")
    if by_name["engine of SMAC"].status == "ok":
        engine = by_name["engine of SMAC"].found
    else:
        engine, core = "smax", [*core, *bad("engine of SMAC")]
    lacks = core + (bad("smacv2", "StarCraft II", "StarCraft II maps") if engine == "starcraft2" else smax)
    if not lacks:
        return True, f"The main job can run, on the engine {engine}: {MAIN_JOB}"
    way = f"; with --env SMAX it can: {MAIN_JOB} --env SMAX" if not core + smax else ""
    return False, f"The main job cannot run on the engine {engine}: {', '.join(lacks)}{way}"


def _python() -> Check:
    found = f"{sys.version.split()[0]} ({sys.executable})"
    if sys.version_info < PYTHON:
        return Check("Python", "broken", found, "make the environment anew with Python 3.11 or later")
    return Check("Python", "ok", found)


def _key() -> Check:
    if os.environ.get("OPENAI_API_KEY"):
        return Check("LLM key", "ok", "OPENAI_API_KEY is set")
    return Check(
        "LLM key", "missing", "OPENAI_API_KEY is not set", "set it to your key; a server of your own may need none"
    )


def _endpoint(base_url: str | None) -> Check:
    url = base_url or os.environ.get("OPENAI_BASE_URL")
    if not url and not os.environ.get("OPENAI_API_KEY"):
        return Check("LLM endpoint", "missing", "not asked: neither a key nor a server is set", "see docs/labelling.md")
    url = url or OPENAI_URL
    check = _probe(
        Probe(
            "LLM endpoint",
            "endpoint",
            ("openai",),
            "check the key and the address; most addresses end in /v1 (--base_url)",
        ),
        {"OPENAI_BASE_URL": url},
    )
    # A user's name and password, or a token in the query, are nobody's business.
    shown = re.sub(r"//[^/@]*@|\?.*", lambda match: "//" if match[0].startswith("//") else "", url)
    return Check(check.name, check.status, f"{shown}: {check.found}", check.remedy)


def _probe(probe: Probe, environment: dict[str, str] | None = None) -> Check:
    absent = [package for package in probe.packages if importlib.util.find_spec(package) is None]
    if absent:
        return Check(probe.name, "missing", f"no package {', '.join(absent)}", probe.remedy)
    process = subprocess.Popen(
        [sys.executable, "-m", "misodice.doctor.probes", probe.probe],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        end_group(process)
        process.communicate()
        return Check(probe.name, "broken", f"no end in {PROBE_SECONDS:.0f} s", probe.remedy)
    found = _last_line(output)
    if process.returncode == 0:
        return Check(probe.name, "ok", found)
    if process.returncode < 0:
        found = f"its process died of {signal.Signals(-process.returncode).name}: {_last_line(errors)}"
    return Check(
        probe.name, "missing" if process.returncode == ABSENT else "broken", found or _last_line(errors), probe.remedy
    )


def _last_line(text: str) -> str:
    key = os.environ.get("OPENAI_API_KEY")
    lines = (text.replace(key, "…") if key else text).strip().splitlines()
    return lines[-1] if lines else ""
