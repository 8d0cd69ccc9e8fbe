"""Configs and options of version 0.1."""

import pytest
import yaml

from misodice.cli.first_edition import words_in_todays_form
from misodice.cli.main import main

OLD = {"env": {"engine": "mamujoco", "task": "Hopper", "partition": "3x1", "layout": "paper"}}


def printed(capsys, *arguments: str) -> tuple[dict, str]:
    with pytest.raises(SystemExit) as ended:
        main(["fit", *arguments, "--print_config"])
    assert ended.value.code in (0, None)
    said = capsys.readouterr()
    return yaml.safe_load(said.out), said.err


def test_an_engine_by_a_word_in_a_config(tmp_path, capsys):
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(OLD))
    config, said = printed(capsys, "--config", str(tmp_path / "old.yaml"), "--env.task", "Ant")
    assert config["env"]["class_path"].endswith("MaMuJoCo")
    assert config["env"]["init_args"]["task"] == "Ant"
    assert config["env"]["init_args"]["layout"] == "paper"
    assert "is the form of misodice 0.1; read as env: {class_path: MaMuJoCo" in said


def test_an_engine_by_a_word_on_the_command_line(capsys):
    config, said = printed(capsys, "--env.task", "protoss_5_vs_5", "--env.engine", "smax")
    assert config["env"]["class_path"].endswith("SMAX")
    assert config["env"]["init_args"]["task"] == "protoss_5_vs_5"
    assert "read as --env SMAX" in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["fit", "--env.engine=smax"], ["fit", "--env", "SMAX"]),
        (["fit", "--data.path", "x.h5", "--env.engine", "auto"], ["fit", "--env", "null", "--data.path", "x.h5"]),
        (["fit", "--env.engine", "auto", "--env.task", "3m"], ["fit", "--env", "SMAC", "--env.task", "3m"]),
        (["fit", "--env.engine", "smac"], ["fit", "--env.engine", "smac"]),
        (["fit", "--env", "SMAX"], ["fit", "--env", "SMAX"]),
        (["fit", "--env.engine"], ["fit", "--env.engine"]),
        ([], []),
    ],
)
def test_words_become_classes(old, new):
    assert words_in_todays_form(old) == new


def test_options_that_moved_are_told(capsys):
    for option in ("--policy.top_p", "--policy.by_episode"):
        with pytest.raises(SystemExit):
            main(["fit", option, "0.5"])
        assert f"{option} is not an option; it is now a part of the policy: policy.weighting" in capsys.readouterr().err
