"""Every shipped config and every command of the README and the docs, on small data."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml

import misodice
from misodice.cli.main import main
from misodice.data.episodes import Episodes
from misodice.envs import SMAX, Engine, MaMuJoCo, Source
from misodice.rollout.collect import collect
from tests.helpers.cli import CONFIGS
from tests.helpers.fake_openai import serve

ROOT = CONFIGS.parent
TASKS = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
# 4 episodes everywhere: SMAX is compiled anew for another number of games.
SMALL = {
    "fit": "--labels.n_pairs 20 --data.k 3 --data.batch_size 256 --rollout.episodes 4 --trainer.max_epochs 1 "
    "--trainer.limit_train_batches 3 --trainer.enable_progress_bar false",
    "label": "--labels.n_pairs 20 --data.k 3 --trainer.max_epochs 1 --trainer.enable_progress_bar false",
    "test": "--rollout.episodes 4",
    "benchmark": "--dry_run",
    "collect": '--sources \'[{"behaviour": "random", "episodes": 4, "source": "poor"}]\'',
}
COMMANDS = [
    line.strip()
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for language, block in re.findall(r"^```([^\n]*)\n(.*?)^```$", page.read_text(), re.S | re.M)
    if not language
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("misodice ") and line.strip() != "misodice doctor"  # run in test_doctor.py
]


def small_file(path: Path, engine: Engine) -> None:
    """Few episodes of the first and last bundled behaviours."""
    sources = engine.default_sources()
    few = [Source(sources[i].behaviour, 4, sources[i].source, sources[i].noise) for i in (0, -1)]
    collect(engine, few, path, seed=0)


@pytest.mark.parametrize("config", TASKS)
def test_config(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = CONFIGS / f"{config}.yaml"
    env = yaml.safe_load(path.read_text())["env"]
    engine = getattr(misodice, env["class_path"])(**env["init_args"]).resolve()
    small_file(tmp_path / "small.h5", engine)
    assert main(["fit", "--config", str(path), "--data.path", "small.h5", *shlex.split(SMALL["fit"])]) == 0
    summary = json.loads((tmp_path / "runs" / config / "misodice" / "seed_0" / "summary.json").read_text())
    assert summary["task"] == engine.task
    assert np.isfinite(summary["rollout"]["return_mean"])


@pytest.mark.parametrize("overlay", sorted((CONFIGS / "paper").glob("*.yaml")), ids=lambda path: path.stem)
def test_paper_overlay_is_table_3(overlay, capsys):
    for task in [task for task in TASKS if task.startswith(overlay.stem)]:
        with pytest.raises(SystemExit):
            main(["fit", "--config", str(CONFIGS / f"{task}.yaml"), "--config", str(overlay), "--print_config"])
        config = yaml.safe_load(capsys.readouterr().out)
        actor = {"smacv2": 3e-4, "mamujoco": 1e-5}[overlay.stem]
        stages = {stage: config[stage]["init_args"] for stage in ("discriminator", "value", "policy")}
        assert [options["lr"] for options in stages.values()] == [3e-4, 3e-4, actor]
        assert (stages["value"]["alpha"], stages["value"]["gamma"]) == (0.05, 0.99)
        assert (config["data"]["batch_size"], config["rollout"]["episodes"]) == (512, 32)
        assert [stages["policy"][key] for key in ("lr_schedule", "weighting")] == ["constant", []]
        assert [options["epochs"] for options in stages.values()] == [100] * 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the documented commands run, in their order: the configs, and files that they expect to find."""
    path = tmp_path_factory.mktemp("user")
    (path / "configs").symlink_to(CONFIGS)
    (path / "examples").symlink_to(ROOT / "examples")
    for task in ("zerg_5_vs_5", "zerg_10_vs_10"):
        small_file(path / "data" / f"smax_{task}.h5", SMAX(task))
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs/labelling.md").read_text(), re.S | re.M)
    (path / "my_package.py").write_text("\n".join(block for block in blocks if re.search(r"^class ", block, re.M)))
    (path / "my.yaml").write_bytes((CONFIGS / "smacv2_zerg.yaml").read_bytes())
    # With the marks by which `serve` finds the two episodes.
    marks = "=== FIRST EPISODE ===\n{{ first }}\n=== SECOND EPISODE ===\n{{ second }}\n=== QUESTION ===\nWhich?"
    (path / "my.jinja").write_text(marks)
    for name in ("my.h5", "poor.h5"):
        (path / name).write_bytes((path / "data" / "smax_zerg_5_vs_5.h5").read_bytes())
    return path


@pytest.mark.parametrize("command", list(dict.fromkeys(COMMANDS)))
def test_documented_command(folder, monkeypatch, command):
    # Each page is a story of its own, but all share this folder: a run of another page is replaced.
    told = ["--replace", "true", "--labels.other_answers", "set_aside"]
    if "starcraft2" in command.lower():
        pytest.skip("needs the game: see test_starcraft2_real.py")
    monkeypatch.chdir(folder)
    words = shlex.split(command)[1:]
    with serve() as fake:
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        monkeypatch.setenv("OPENAI_BASE_URL", fake.url)
        small = shlex.split(SMALL.get(words[0], ""))
        assert main([*words, *small, *(told if words[0] in ("fit", "label") else [])]) == 0


@pytest.mark.parametrize(
    ("engine", "agents", "obs", "state"),
    [
        (SMAX("5m_vs_6m"), 5, None, None),
        pytest.param(SMAX("6h_vs_8z"), 6, None, None, marks=pytest.mark.slow),
        pytest.param(SMAX("protoss_10_vs_11"), 10, None, None, marks=pytest.mark.slow),
        (MaMuJoCo("Walker2d", "2x3"), 2, None, None),
        (MaMuJoCo("Ant", "4x2", layout=None, agent_obsk=1), 4, None, None),
        # Table 2 of the paper
        (MaMuJoCo("Hopper", "3x1"), 3, 14, 42),
        (MaMuJoCo("Ant", "2x4"), 2, 113, 226),
        (MaMuJoCo("HalfCheetah", "6x1"), 6, 23, 138),
    ],
    ids=lambda value: getattr(value, "task", None),
)
def test_any_task_by_options(tmp_path, engine, agents, obs, state):
    collect(engine, [Source("random", 2, "poor")], tmp_path / "x.h5", seed=0)
    episodes = Episodes.read(tmp_path / "x.h5")
    assert episodes.n_agents == agents
    if obs is not None:
        assert (episodes.obs.shape[2], episodes.state.shape[1]) == (obs, state)
