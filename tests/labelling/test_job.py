"""The pairs of one run, without a command line."""

import threading
import time

import pytest

from misodice.data.preferences import Preferences, PreferencesFile
from misodice.errors import MisodiceError
from misodice.labelling import LabelJob, Labeller, Labels, OracleLabeller, RuleLabeller


class NoDifference(Labeller):
    tie_reason = "no difference"

    def compare(self, episodes, first, second):
        return "tie"


@pytest.fixture
def job(battles, tmp_path, console):
    def make(labels=None, digest="d", run="run", shared=None, is_global_zero=True):
        labels = labels or Labels(n_pairs=40)
        return LabelJob(labels, battles, digest, tmp_path / run, shared, is_global_zero, console)

    return make


def test_answers_are_given_once(job, tmp_path, console):
    first = job().answer()
    path = tmp_path / "run" / "preferences.jsonl"
    written = path.read_bytes()
    second = job().answer()
    assert path.read_bytes() == written
    assert first.answer.tolist() == second.answer.tolist() == Preferences.read(path).answer.tolist()
    said = console.export_text()
    assert f"labels: up to date ({path}), not asked again" in said
    assert said.count("of 40 pairs have a winner") == 2


def test_what_changes_the_fingerprint(job):
    marks = {
        job().fingerprint,
        job(digest="e").fingerprint,
        job(Labels(n_pairs=41)).fingerprint,
        job(Labels(n_pairs=40, seed=1)).fingerprint,
        job(Labels(RuleLabeller(0.1), n_pairs=40)).fingerprint,
        job(Labels(OracleLabeller(), n_pairs=40)).fingerprint,
    }
    assert len(marks) == 6
    others = [job(run="elsewhere"), job(Labels(n_pairs=40, held_out=0.3)), job(Labels(n_pairs=40, path="/tmp/p.jsonl"))]
    assert {other.fingerprint for other in others} == {job().fingerprint}


def test_looking_writes_nothing(job, tmp_path, console):
    made = job()
    made.show(2)
    made.estimate()
    said = console.export_text()
    assert said.count("not answered yet") == 2
    assert "RuleLabeller: 40 of 40 pairs are to be answered, at no cost" in said
    assert not list(tmp_path.iterdir())


def test_ties_alone_stop(job):
    with pytest.raises(MisodiceError, match=r"all 40 pairs are ties \(40 no difference\).*--show"):
        job(Labels(NoDifference(), n_pairs=40)).answer()


def test_runs_share_answers_and_each_has_a_copy(job, tmp_path):
    shared = tmp_path / "shared"
    a, b = (job(run=run, shared=shared).answer() for run in "ab")
    assert a.answer.tolist() == b.answer.tolist()
    (common,) = shared.glob("preferences-*.jsonl")
    for run in "ab":
        assert (tmp_path / run / "preferences.jsonl").read_bytes() == common.read_bytes()


def test_a_path_of_ones_own_takes_the_place_of_both(job, tmp_path):
    path = tmp_path / "mine.jsonl"
    job(Labels(n_pairs=40, path=str(path)), shared=tmp_path / "shared").answer()
    assert len(Preferences.read(path).answer) == 40
    assert not (tmp_path / "shared").exists()
    assert not (tmp_path / "run").exists()


def test_another_process_waits_for_the_answers(job, battles, tmp_path):
    waiting = job(is_global_zero=False)
    found: list[Preferences] = []
    thread = threading.Thread(target=lambda: found.append(waiting.answer()))
    thread.start()
    time.sleep(0.2)
    assert not found
    path = tmp_path / "run" / "preferences.jsonl"
    RuleLabeller().label(battles, PreferencesFile(path, waiting.pairs, waiting.fingerprint))
    thread.join(timeout=30)
    assert len(found[0].answer) == 40
