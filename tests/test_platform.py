"""What Windows lacks, taken away: a stand-in, since the tests run on Linux."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.helpers.cli import SMALL, TINY

ROOT = Path(__file__).parent.parent
ELSEWHERE = """
import importlib, json, os, sys

sys.modules["fcntl"] = None
for name in ("killpg", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
import misodice.runs.processes

misodice.runs.processes.CAN_INHERIT = False
from misodice.cli.main import main

commands, modules = map(json.loads, sys.argv[1:])
for command in commands:
    if main(command):
        raise SystemExit(1)
for module in modules:
    importlib.import_module(module)
print("all is well")
"""


def test_data_are_made_a_policy_is_trained_and_every_command_can_be_imported(tmp_path):
    """In one process, which takes longer to start than to do all that."""
    env = ["--env", TINY]
    where = ["--data.path", "tiny.h5", "--run_dir", "run"]
    commands = [["collect", "--output", "tiny.h5", *env], ["fit", *env, *where, *SMALL]]
    modules = ["misodice.grid.runner", "misodice.cli.child", "misodice.doctor", "misodice.export", "misodice.envs"]
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, json.dumps(commands), json.dumps(modules)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "written: run" in done.stdout
    assert (tmp_path / "run" / "summary.json").is_file()
    assert done.stdout.endswith("all is well\n")
