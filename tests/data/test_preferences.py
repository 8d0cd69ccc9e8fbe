"""Pairs, and the append-only file."""

import json
import time
from threading import Thread

import numpy as np
import pytest
from hypothesis import given, strategies as st

from misodice.data.preferences import FORMAT, Preferences, PreferencesFile, sample_pairs
from misodice.errors import MisodiceError

PAIRS = np.array([[0, 1], [3, 2], [4, 0]])


@given(st.data())
def test_pairs_are_distinct_unordered_and_seeded(data):
    n = data.draw(st.integers(2, 300))
    n_pairs = data.draw(st.integers(1, min(n * (n - 1) // 2, 400)))
    seed = data.draw(st.integers(0, 2**32))
    pairs = sample_pairs(n, n_pairs, seed)
    assert pairs.shape == (n_pairs, 2)
    assert pairs.dtype == np.int64
    assert pairs.min() >= 0
    assert pairs.max() < n
    assert (pairs[:, 0] != pairs[:, 1]).all()
    assert len({frozenset(pair) for pair in pairs.tolist()}) == n_pairs
    np.testing.assert_array_equal(pairs, sample_pairs(n, n_pairs, seed))


def test_every_pair_can_be_drawn_and_orientation_is_even():
    assert len({frozenset(pair) for pair in sample_pairs(40, 780, 0).tolist()}) == 780
    pairs = sample_pairs(1200, 2000, 0)
    assert 0.45 < (pairs[:, 0] < pairs[:, 1]).mean() < 0.55
    assert (sample_pairs(1200, 2000, 1) != pairs).any()


def test_pairs_of_a_huge_file():
    pairs = sample_pairs(10_000_000, 1000, 0)
    assert ((pairs >= 0) & (pairs < 10_000_000)).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()


def test_all_pairs_are_taken_where_there_are_fewer():
    pairs = sample_pairs(5, 2000, 0)
    assert len({frozenset(pair) for pair in pairs.tolist()}) == 10
    np.testing.assert_array_equal(pairs, sample_pairs(5, 10, 0))
    assert sorted(sample_pairs(2, 2000, 0)[0]) == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((5, 0, 0), "n_pairs is 0, expected at least 1"),
        ((5, -3, 0), "n_pairs is -3, expected at least 1"),
        ((1, 10, 0), "1 episode has no other"),
        ((5, 3, -1), "seed is -1, expected at least 0"),
    ],
)
def test_no_pairs_are_refused(arguments, words):
    with pytest.raises(MisodiceError, match=words):
        sample_pairs(*arguments)


def open_file(tmp_path, fingerprint="abc", pairs=PAIRS):
    return PreferencesFile(tmp_path / "preferences.jsonl", pairs, fingerprint)


def fill(file, answers=("first", "tie", "second")):
    with file:
        for pair, answer in enumerate(answers):
            file.append(file.preference(pair, answer, "why"))


def test_answers_come_back_in_the_order_of_the_pairs(tmp_path):
    file = open_file(tmp_path)
    assert file.missing == [0, 1, 2]
    with file:
        for pair, answer in ((2, "second"), (0, "first"), (1, "tie")):
            file.append(file.preference(pair, answer, "same"))
    assert file.missing == []
    read = Preferences.read(file.path)
    np.testing.assert_array_equal(read.pairs, PAIRS)
    assert read.answer.tolist() == [0, -1, 1]
    assert read.informative.tolist() == [True, False, True]
    assert read.tie_reasons == {"same": 1}
    assert read.tie_share == pytest.approx(1 / 3)
    assert read.position_consistency is None
    header = json.loads(file.path.read_text().splitlines()[0])
    assert header == {
        "kind": "header",
        "format": "misodice-preferences",
        "version": 1,
        "fingerprint": "abc",
        "n_pairs": 3,
    }


@given(st.data())
def test_a_file_cut_anywhere_goes_on(tmp_path_factory, data):
    tmp_path = tmp_path_factory.mktemp("cut")
    fill(open_file(tmp_path))
    path = tmp_path / "preferences.jsonl"
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    file = open_file(tmp_path)
    ends = np.cumsum([len(line) for line in whole.splitlines(keepends=True)]) - 1
    kept = int((ends <= cut).sum())
    assert len(file.missing) == 3 - max(kept - 1, 0)
    with file:
        for pair in file.missing:
            file.append(file.preference(pair, ("first", "tie", "second")[pair], "why"))
    assert path.read_bytes() == whole


def test_another_fingerprint_is_kept_aside_and_comes_back(tmp_path, capsys):
    fill(open_file(tmp_path, "one"))
    before = (tmp_path / "preferences.jsonl").read_bytes()
    other = open_file(tmp_path, "two")
    assert other.missing == [0, 1, 2]
    assert (tmp_path / "preferences.jsonl").read_bytes() == before, "constructing writes nothing"
    fill(other, ("tie", "tie", "tie"))
    assert (tmp_path / "preferences.one.jsonl").read_bytes() == before
    assert "preferences.one.jsonl" in capsys.readouterr().out
    again = open_file(tmp_path, "one")
    assert again.missing == []
    with again:
        assert again.missing == []
    assert (tmp_path / "preferences.jsonl").read_bytes() == before
    assert Preferences.read(tmp_path / "preferences.two.jsonl").tie_share == 1


def test_a_second_writer_waits_and_finds_everything_answered(tmp_path, capsys):
    found = []

    def second() -> None:
        with open_file(tmp_path) as file:
            found.append(file.missing)

    waiting = Thread(target=second)
    with open_file(tmp_path) as file:
        waiting.start()
        printed = ""
        while "waiting for it" not in printed:
            printed += capsys.readouterr().out
            time.sleep(0.01)
        assert not found
        file.append(*(file.preference(pair, "first") for pair in range(3)))
    waiting.join()
    assert found == [[]]


def test_other_pairs_under_the_same_fingerprint_are_refused(tmp_path):
    fill(open_file(tmp_path))
    with pytest.raises(MisodiceError, match="pair 0 is of episodes"):
        open_file(tmp_path, pairs=PAIRS[::-1])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"kind": "header", "format": "x"}\n', "format 'x'"),
        ('{"kind": "header", "format": "misodice-preferences", "version": 9}\n', "version 9"),
        ("not json\nrest\n", "line 1 is no JSON"),
        ("[1]\n", "line 1: expected an object"),
        ("", "header is missing"),
    ],
)
def test_what_is_no_preferences_file_is_refused(tmp_path, content, words):
    path = tmp_path / "preferences.jsonl"
    path.write_text(content)
    with pytest.raises(MisodiceError, match=words):
        Preferences.read(path)
    if content:
        with pytest.raises(MisodiceError, match=words):
            open_file(tmp_path)


def test_missing_file_and_unwritable_place(tmp_path):
    with pytest.raises(MisodiceError, match="no such file"):
        Preferences.read(tmp_path / "absent.jsonl")
    (tmp_path / "file").touch()
    with pytest.raises(MisodiceError, match="cannot write"), PreferencesFile(tmp_path / "file" / "p.jsonl", PAIRS, "a"):
        pass


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"answer": None}, ["line 2, a preference: found answer None", "first, second or tie"]),
        ({"answer": "FIRST"}, ["found answer 'FIRST'"]),
        ({"answer": ["first"]}, ["found answer ['first']"]),
        ({"pair": "0"}, ["found pair '0'", "the number of a pair"]),
        ({"episodes": [0]}, ["found episodes [0]", "two numbers of episodes"]),
        ({"episodes": None}, ["found episodes None"]),
    ],
)
def test_an_edited_line_is_named(tmp_path, line, words):
    path = tmp_path / "p.jsonl"
    header = {"kind": "header", "format": FORMAT, "version": 1, "fingerprint": "a", "n_pairs": 1}
    good = {"kind": "preference", "pair": 0, "episodes": [0, 1], "answer": "first", "tie_reason": None}
    path.write_text(json.dumps(header) + "\n" + json.dumps(good | line) + "\n")
    with pytest.raises(MisodiceError) as error:
        Preferences.read(path)
    assert all(word in str(error.value) for word in [str(path), *words]), error.value
    del header["fingerprint"]
    path.write_text(json.dumps(header) + "\n")
    with pytest.raises(MisodiceError, match="line 1, the header: found fingerprint None"):
        Preferences.read(path)
