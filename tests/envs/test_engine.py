"""What a config's `env` may be, before anything is made."""

import subprocess
import sys

import pytest

from misodice.envs import SMAC, SMAX, MaMuJoCo, StarCraft2, engine_of_file
from misodice.envs.smac import game_folder
from misodice.errors import MisodiceError
from misodice.runs.parts import config_of
from tests.helpers.tiny_engine import Tiny, TinyEnv


def test_engines_are_quick_to_make():
    code = (
        "import sys; from misodice.envs import SMAC, SMAX, MaMuJoCo, StarCraft2\n"
        "[engine().behaviours() for engine in (SMAC, SMAX, MaMuJoCo, StarCraft2)]; StarCraft2().outline()\n"
        "print({'jax', 'jaxmarl', 'mujoco', 'smacv2', 'torch', 'lightning'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("engine", "name"),
    [
        (SMAX(), "smax_zerg_5_vs_5"),
        (StarCraft2("5m_vs_6m"), "starcraft2_5m_vs_6m"),
        (MaMuJoCo("Hopper", "3x1"), "mamujoco_hopper_3x1_paper"),
        (MaMuJoCo("Ant"), "mamujoco_ant_paper"),
        (MaMuJoCo("Ant", "4x2", None, 1), "mamujoco_ant_4x2_obsk1"),
        (Tiny(), "tiny_follow"),
    ],
    ids=str,
)
def test_the_file_that_is_made_is_called_by_the_engine_and_its_options(engine, name):
    assert engine.data_name() == name


@pytest.fixture
def no_game(tmp_path, monkeypatch):
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    assert not game_folder().is_dir()


def test_smac_is_the_engine_of_the_file(no_game):
    smac = SMAC("5m_vs_6m", games=2)
    game = smac.for_file({"engine": "starcraft2"})
    assert isinstance(game, StarCraft2)
    assert (game.task, game.games) == ("5m_vs_6m", 2)
    for env in ({"engine": "smax"}, {"engine": "mamujoco"}, {}):
        assert config_of(smac.for_file(env)) == config_of(SMAX("5m_vs_6m"))
    assert smac.data_name() == "smax_5m_vs_6m"
    assert smac.outline() == StarCraft2("5m_vs_6m").outline()
    assert SMAC().behaviours() == SMAX().behaviours()


@pytest.mark.parametrize(
    ("engine", "task"),
    [(SMAX("3m"), "3m"), (StarCraft2("zerg_10_vs_11"), "zerg_10_vs_11"), (MaMuJoCo("Ant", "4x2", None, 1), "Ant")],
    ids=str,
)
def test_a_header_names_its_engine(engine, task):
    options = {"partition": "4x2", "layout": None, "agent_obsk": 1}
    found = engine_of_file({"engine": engine.name, "task": task, "version": "1", **options})
    assert config_of(found) == config_of(engine)


@pytest.mark.parametrize("env", [{}, {"engine": "tiny", "task": "follow"}, {"engine": "smax"}, {"engine": ["smax"]}])
def test_a_header_may_name_none(env):
    assert engine_of_file(env) is None


@pytest.mark.parametrize(
    ("engine", "options", "words"),
    [
        ("mamujoco", {"partition": 31}, "'partition' of mamujoco is 31, expected str | None"),
        ("mamujoco", {"partition": ["3x1"]}, "'partition' of mamujoco"),
        ("mamujoco", {"agent_obsk": "one"}, "'agent_obsk' of mamujoco is 'one', expected int | None"),
        ("mamujoco", {"agent_obsk": True}, "'agent_obsk' of mamujoco is True"),
        ("mamujoco", {"layout": "full"}, "'layout' of mamujoco is 'full'"),
        ("starcraft2", {"games": 2.5}, r"'games' of starcraft2 is 2\.5, expected int"),
    ],
)
def test_a_header_with_an_odd_value_is_refused(engine, options, words):
    with pytest.raises(MisodiceError, match=words.replace("|", r"\|") + ".*; correct the attribute env"):
        engine_of_file({"engine": engine, "task": "Hopper", **options})


def test_what_an_engine_of_a_users_own_does_not_have_is_said():
    class Bare(Tiny):
        name = "bare"

        def make(self, num_envs):
            return TinyEnv(self.task, self.steps, num_envs)

        default_sources = Tiny.__base__.default_sources
        scripted_actor = Tiny.__base__.scripted_actor

    engine = Bare()
    with pytest.raises(MisodiceError, match="nothing is bundled for bare follow; name a file"):
        engine.default_sources()
    with pytest.raises(MisodiceError, match="engine bare has no scripted player"):
        engine.scripted_actor(engine.make(1))
    assert engine.behaviours() == {}
    assert engine.resolve() is engine.for_file({"engine": "smax"}) is engine
    outline = engine.outline()
    assert outline.sizes == {"agents": 2, "actions": 3, "observation": 5, "state": 5}
    assert outline.obs_features == engine.make(1).header.obs_features
