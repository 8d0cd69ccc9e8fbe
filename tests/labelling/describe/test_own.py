"""A describer of the user's own."""

import json

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from misodice.data.episodes import Episodes
from misodice.data.preferences import PreferencesFile, sample_pairs
from misodice.errors import MisodiceError
from misodice.labelling import Describer, Labeller, LLMLabeller, UnitDescriber
from misodice.runs.fingerprint import fingerprint
from misodice.runs.parts import config_of
from tests.helpers.fake_openai import serve


class Lengths(Describer):
    """Says how long an episode is; it needs no names of features."""

    def __init__(self, unit: str = "steps") -> None:
        self.unit = unit

    def describe(self, episodes, max_tokens):
        if episodes.n_agents > 9:
            raise MisodiceError("Lengths: too many agents")
        return lambda index: f"It took {episodes.length[index]} {self.unit}."


class Versioned(Lengths):
    """States the version of its words."""

    wording = 3


def labeller_of(*arguments: str) -> Labeller:
    parser = ArgumentParser()
    parser.add_argument("--labeller", type=Labeller)
    return parser.instantiate(parser.parse_args(["--labeller", "LLMLabeller", *arguments])).labeller


def test_its_words_are_in_the_prompt(battles, tmp_path, monkeypatch):
    labeller = labeller_of(f"--labeller.describer={__name__}.Lengths", "--labeller.describer.unit=minutes")
    assert config_of(labeller)["init_args"]["describer"] == {
        "class_path": f"{__name__}.Lengths",
        "init_args": {"unit": "minutes"},
    }
    first, second = labeller.view(battles, 3, 7).split("=== SECOND EPISODE ===")
    assert f"It took {battles.length[3]} minutes." in first
    assert f"It took {battles.length[7]} minutes." in second
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    file = PreferencesFile(tmp_path / "preferences.jsonl", sample_pairs(battles.n_episodes, 5, 0), "x")
    with serve() as fake:
        LLMLabeller(base_url=fake.url, describer=Lengths("minutes"), price=(0, 0)).label(battles, file)
    assert all("minutes." in entry["prompt"] and "ally_0" not in entry["prompt"] for entry in fake.log)
    assert len(fake.log) == 10


def test_it_describes_what_the_built_in_one_cannot(hopper_file):
    hopper = Episodes.read(hopper_file)
    assert f"It took {hopper.length[1]} steps." in LLMLabeller(describer=Lengths()).view(hopper, 0, 1)


def test_options_of_one_describer_do_not_leak_into_another():
    labeller = labeller_of("--labeller.describer.moments=2", f"--labeller.describer={__name__}.Lengths")
    assert config_of(labeller.describer) == {"class_path": f"{__name__}.Lengths", "init_args": {"unit": "steps"}}
    assert labeller_of("--labeller.describer.moments=2").describer.moments == 2


def test_its_class_and_options_tell_the_answers_apart():
    describers = [UnitDescriber(), UnitDescriber(1), Lengths(), Lengths("minutes"), Versioned()]
    marks = [fingerprint(LLMLabeller(describer=describer).identity()) for describer in describers]
    assert len(set(marks)) == len(marks)
    assert fingerprint(LLMLabeller().identity()) == marks[0]


def test_a_stated_wording_stands_for_the_source():
    assert UnitDescriber().identity() == [config_of(UnitDescriber()), 1]
    assert json.loads(json.dumps(Versioned("hours").identity()))[1] == 3
    assert isinstance(Lengths().identity(), Lengths), "without a wording the source counts"


class Inherited(Versioned):
    """Says something else than its base class, and states no wording."""

    def describe(self, episodes, max_tokens):
        return lambda index: str(np.asarray(episodes.obs).shape)


def test_a_wording_is_not_inherited():
    assert isinstance(Inherited().identity(), Inherited)


def test_its_refusal_reaches_the_user(battles):
    class Refusing(Lengths):
        def describe(self, episodes, max_tokens):
            raise MisodiceError("Refusing: cannot describe it")

    with pytest.raises(MisodiceError, match="cannot describe it"):
        LLMLabeller(describer=Refusing()).check(battles)
