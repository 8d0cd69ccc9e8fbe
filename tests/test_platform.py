"""What Windows lacks, taken away: a stand-in, since the tests run on Linux."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
ELSEWHERE = """
import os, sys

sys.modules["fcntl"] = None
for name in ("killpg", "sched_getaffinity"):
    if hasattr(os, name):
        delattr(os, name)
import misodice.runs.processes

misodice.runs.processes.CAN_INHERIT = False
from misodice.cli.main import main

raise SystemExit(main(sys.argv[1:]))
"""


def without(tmp_path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    return subprocess.run(
        [sys.executable, "-c", ELSEWHERE, *arguments],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_data_are_made_and_a_policy_is_trained(tmp_path):
    sources = "[{behaviour: random, episodes: 12, source: random}]"
    env = ["--env", "MaMuJoCo", "--env.task", "Hopper", "--env.partition", "3x1"]
    done = without(tmp_path, "collect", "--output", "hopper.h5", *env, "--sources", sources)
    assert done.returncode == 0, done.stderr
    short = ["--labels.n_pairs", "20", "--data.k", "4", "--trainer.max_epochs", "1", "--rollout.episodes", "2"]
    where = ["--data.path", "hopper.h5", "--run_dir", "run", "--trainer.enable_progress_bar", "false"]
    done = without(tmp_path, "fit", *env, *where, *short)
    assert done.returncode == 0, done.stderr
    assert "written: run" in done.stdout
    assert (tmp_path / "run" / "summary.json").is_file()


def test_every_command_can_be_imported():
    modules = ["misodice.grid.runner", "misodice.cli.child", "misodice.doctor", "misodice.export"]
    hidden = "import sys; sys.modules['fcntl'] = None; import os; del os.killpg; import importlib"
    code = f"{hidden}; [importlib.import_module(name) for name in {modules}]"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
