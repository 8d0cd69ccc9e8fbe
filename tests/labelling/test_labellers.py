"""Rule, oracle, and a labeller of the user's own."""

from dataclasses import replace

import numpy as np
import pytest
from jsonargparse import ArgumentParser

from misodice.data.preferences import Answer, Preferences, PreferencesFile, sample_pairs
from misodice.errors import MisodiceError
from misodice.labelling import Labeller, LLMLabeller, OracleLabeller, RuleLabeller
from misodice.labelling.show import show
from misodice.runs.fingerprint import fingerprint
from misodice.runs.parts import config_of


class ShorterWins(Labeller):
    """The example of docs/labelling.md."""

    tie_reason = "same length"

    def __init__(self, margin: int = 0) -> None:
        self.margin = margin

    def compare(self, episodes, first, second) -> Answer:
        difference = int(episodes.length[first] - episodes.length[second])
        return "tie" if abs(difference) <= self.margin else "first" if difference < 0 else "second"


@pytest.fixture
def file(battles, tmp_path):
    return PreferencesFile(tmp_path / "preferences.jsonl", sample_pairs(battles.n_episodes, 100, 0), "x")


def label(labeller, episodes, file) -> Preferences:
    labeller.label(episodes, file)
    read = Preferences.read(file.path)
    np.testing.assert_array_equal(read.pairs, file.pairs)
    return read


def test_rule_prefers_the_higher_return(battles, file):
    returns = battles.returns.copy()
    returns[file.pairs[0]] = 5.0
    read = label(RuleLabeller(), replace(battles, returns=returns), file)
    a, b = returns[read.pairs].T
    assert (read.answer == np.where(a == b, -1, (b > a).astype(int))).all()
    assert read.tie_reasons == {"equal return": 1}


@pytest.mark.parametrize("flip", [0.1, 0.3, 1.0])
def test_flips_are_a_seeded_share(battles, tmp_path, flip):
    pairs = sample_pairs(battles.n_episodes, 400, 0)
    answers = [
        label(RuleLabeller(share, seed), battles, PreferencesFile(tmp_path / f"{i}.jsonl", pairs, "x")).answer
        for i, (share, seed) in enumerate([(0.0, 0), (flip, 0), (flip, 0), (flip, 1)])
    ]
    assert (answers[0] != answers[1]).mean() == pytest.approx(flip, abs=0.06)
    np.testing.assert_array_equal(answers[1], answers[2])
    assert flip == 1 or (answers[1] != answers[3]).any()


def test_a_resumed_rule_gives_the_same_answers(battles, file, tmp_path):
    label(RuleLabeller(0.3), battles, file)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: len(whole) // 2])
    label(RuleLabeller(0.3), battles, PreferencesFile(file.path, file.pairs, "x"))
    assert file.path.read_bytes() == whole


def test_oracle_prefers_the_expert(battles, file):
    read = label(OracleLabeller(), battles, file)
    a, b = (battles.source[read.pairs] == "expert").T
    assert (read.answer == np.where(a == b, -1, b.astype(int))).all()
    assert read.tie_reasons == {"same source": int((a == b).sum())}


def test_what_the_file_lacks_is_named(battles, file):
    blind = replace(battles, returns=None, source=None)
    with pytest.raises(MisodiceError, match="no 'episode/return'"):
        RuleLabeller().label(blind, file)
    with pytest.raises(MisodiceError, match="no 'episode/source'"):
        OracleLabeller().label(blind, file)
    assert not file.path.exists()
    with pytest.raises(MisodiceError, match=r"flip: found 1\.5"):
        RuleLabeller(flip=1.5)


def test_a_labeller_of_ones_own_by_class_path(battles, file):
    parser = ArgumentParser()
    parser.add_argument("--labels.labeller", type=Labeller)
    path = f"{__name__}.ShorterWins"
    made = parser.instantiate(parser.parse_args(["--labels.labeller", path, "--labels.labeller.margin", "1"]))
    labeller = made.labels.labeller
    read = label(labeller, battles, file)
    a, b = battles.length[read.pairs].T
    assert ((read.answer == 0) == (a < b - 1)).all()
    assert labeller.identity() is labeller
    assert config_of(labeller) == {"class_path": path, "init_args": {"margin": 1}}
    assert fingerprint(labeller.identity()) != fingerprint(ShorterWins(2).identity())


def test_the_packages_own_by_short_name():
    parser = ArgumentParser()
    parser.add_argument("--labeller", type=Labeller)
    arguments = ["--labeller", "LLMLabeller", "--labeller.batch", "true", "--labeller.price", "[1, 2]"]
    labeller = parser.instantiate(
        parser.parse_args([*arguments, "--labeller.parameters", '{"temperature": 0.5}'])
    ).labeller
    assert isinstance(labeller, LLMLabeller)
    assert labeller.batch
    assert labeller.parameters == {"temperature": 0.5}
    rule = parser.instantiate(parser.parse_args(["--labeller", "RuleLabeller", "--labeller.flip", "0.1"])).labeller
    assert rule.flip == 0.1


def test_show_prints_what_is_judged_and_the_answers(battles, file, console):
    def shown(labeller) -> str:
        show(labeller, battles, file, 2, console)
        return console.export_text()

    before = shown(RuleLabeller())
    assert before.count("not answered yet") == 2
    assert f"{battles.returns[file.pairs[1, 0]]:.3f}" in before
    assert not file.path.exists()
    RuleLabeller().label(battles, file)
    assert shown(RuleLabeller()).count("answer: ") == 2
    assert "source expert" in shown(OracleLabeller())
    assert "SECOND EPISODE" in shown(LLMLabeller())
    assert f"{battles.length[file.pairs[0, 0]]} steps" in shown(ShorterWins())
