"""Config files by path and by short name."""

from pathlib import Path

import pytest

from misodice.cli.main import main
from misodice.errors import MisodiceError
from misodice.runs.configs import SHIPPED, copy_configs, find_config
from tests.helpers.cli import CONFIGS


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_checkout_ships_its_own_configs():
    assert SHIPPED.resolve() == CONFIGS.resolve()


@pytest.mark.parametrize("config", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_config_is_found_by_its_path_and_its_short_names(config):
    path = config.relative_to(CONFIGS)
    for name in (f"configs/{path}", f"./configs/{path}", str(path), str(path.with_suffix("")), path.stem):
        assert find_config(name, "--config").resolve() == config.resolve()
    assert find_config(str(config), "--config") == config


def test_the_users_own_file_comes_first(here):
    (here / "configs" / "methods").mkdir(parents=True)
    (here / "mine").mkdir()
    for own in ("configs/methods/bc_0.yaml", "quick", "configs/my_overlay.yaml", "mine/quick"):
        (here / own).write_text("method: mine\n")
    for name in ("configs/methods/bc_0.yaml", "methods/bc_0", "bc_0"):
        assert find_config(name, "--config") == Path("configs/methods/bc_0.yaml")
    assert find_config("my_overlay", "--config") == Path("configs/my_overlay.yaml")
    assert find_config("quick", "--grid") == Path("quick")
    assert find_config("quick", "--grid", beside=here / "mine") == here / "mine" / "quick"
    assert find_config("bc_1", "--config") == SHIPPED / "methods" / "bc_1.yaml"


@pytest.mark.parametrize(("name", "near"), [("smacv2_zreg", "smacv2_zerg"), ("configs/method/bc_0.yaml", "bc_0")])
def test_an_unknown_name_lists_near_ones(name, near):
    with pytest.raises(MisodiceError, match=rf"--config: {name} does not exist.*{near}.*misodice configs"):
        find_config(name, "--config")


def test_the_shipped_files_are_copied_out_and_edits_stay(here, capsys):
    assert main(["configs", "--output", "configs"]) == 0
    copied = {path.relative_to(here / "configs"): path.read_text() for path in (here / "configs").rglob("*.yaml")}
    assert copied == {path.relative_to(CONFIGS): path.read_text() for path in CONFIGS.rglob("*.yaml")}
    assert f"{len(copied)} config files are in configs" in capsys.readouterr().out
    edited = here / "configs" / "methods" / "bc_0.yaml"
    edited.write_text("method: mine\n")
    with pytest.raises(MisodiceError, match=r"configs/methods/bc_0.yaml differ .* not replaced"):
        copy_configs(Path("configs"))
    assert edited.read_text() == "method: mine\n"
