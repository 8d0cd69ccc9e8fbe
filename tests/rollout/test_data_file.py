"""The file of a run: found or made, and held against the environment."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from misodice.data.episodes import Episodes
from misodice.envs import SMAC, SMAX
from misodice.errors import MisodiceError
from misodice.rollout.data_file import check_against_env, find_or_make
from tests.helpers.tiny_engine import Tiny


@pytest.fixture
def printed():
    return Console(file=io.StringIO(), soft_wrap=True, width=500)


def test_a_file_is_made_once_from_the_engines_sources(tmp_path, monkeypatch, printed):
    monkeypatch.chdir(tmp_path)
    path = find_or_make(None, Tiny(), True, printed)
    assert str(path) == "data/tiny_follow.h5"
    assert Episodes.read(path).n_episodes == 60
    made = path.stat().st_mtime_ns
    assert find_or_make(None, Tiny(), False, printed) == path
    assert find_or_make(str(path), None, True, printed) == path
    assert path.stat().st_mtime_ns == made
    assert printed.file.getvalue().count("making it from the engine's default sources") == 1


def test_what_cannot_be_found_or_made_is_said(tmp_path, printed):
    with pytest.raises(MisodiceError, match=r"none\.h5: does not exist; name a file, or leave data\.path out"):
        find_or_make(str(tmp_path / "none.h5"), Tiny(), True, printed)
    with pytest.raises(MisodiceError, match="is a folder, expected a file"):
        find_or_make(str(tmp_path), Tiny(), True, printed)
    with pytest.raises(MisodiceError, match="no file is named, and no env could make one"):
        find_or_make(None, None, True, printed)


def test_smac_says_what_it_is(tmp_path, monkeypatch, printed):
    monkeypatch.setenv("SC2PATH", str(tmp_path / "nowhere"))
    (tmp_path / "a.h5").touch()
    find_or_make(str(tmp_path / "a.h5"), SMAC(), True, printed)
    assert printed.file.getvalue().splitlines() == [
        "StarCraft II not found: using smax, the game-free engine (see docs/concepts.md)"
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        path = folder / find_or_make(None, Tiny(), True, Console(quiet=True))
    return path, Episodes.read(path)


def test_the_files_engine_is_taken(made, printed):
    engine = Tiny()
    assert check_against_env(*made, engine, printed) is engine
    assert printed.file.getvalue() == ""


def test_another_version_is_a_warning(made, printed):
    path, episodes = made
    header = replace(episodes.header, env={**episodes.header.env, "version": "0"})
    check_against_env(path, replace(episodes, header=header), Tiny(), printed)
    assert "was made with 0, rollouts use 1" in printed.file.getvalue()


class Sized(Tiny):
    """Its header has a pair, which JSON gives back as a list."""

    def make(self, num_envs):
        env = super().make(num_envs)
        env.header.env["sizes"] = (1, 2)
        return env


def test_an_option_that_is_a_pair_is_the_same_in_the_file(made, printed):
    path, episodes = made
    header = replace(episodes.header, env={**episodes.header.env, "sizes": [1, 2]})
    engine = Sized()
    assert check_against_env(path, replace(episodes, header=header), engine, printed) is engine


@pytest.mark.parametrize(
    ("engine", "env", "words"),
    [
        (Tiny(steps=4), {}, "env option 'steps' is 6 in the file and 4 in the config"),
        (Tiny(task="lead"), {}, "env option 'task' is 'follow' in the file and 'lead' in the config"),
        (SMAX(), {}, "made with engine 'tiny', but env is 'smax'"),
        (Tiny(), {"engine": "smax"}, "made with engine 'smax', but env is 'tiny'"),
        (Tiny(), {"engine": None}, "made with engine None"),
    ],
)
def test_another_environment_is_refused(made, printed, engine, env, words):
    path, episodes = made
    header = replace(episodes.header, env={**episodes.header.env, **env})
    with pytest.raises(MisodiceError, match=words):
        check_against_env(path, replace(episodes, header=header), engine, printed)


def test_a_file_that_names_no_engine_is_told_how_to_train_without_rollouts(made, printed):
    path, episodes = made
    with pytest.raises(MisodiceError, match="names no engine, but env is tiny; leave env out"):
        check_against_env(path, replace(episodes, header=replace(episodes.header, env={})), Tiny(), printed)


def test_other_sizes_are_refused(made, printed):
    path, episodes = made
    narrow = replace(episodes, obs=episodes.obs[..., :-1])
    with pytest.raises(MisodiceError, match="observation size is 4 in the file and 5 in the environment follow"):
        check_against_env(path, narrow, Tiny(), printed)
