"""The language-model labeller against a server on a real socket that fails in every way."""

import json
import random
from collections import Counter

import numpy as np
import pytest

from misodice.data.preferences import Preferences, PreferencesFile, sample_pairs
from misodice.errors import MisodiceError
from misodice.labelling import LLMLabeller, UnitDescriber
from misodice.runs.fingerprint import fingerprint
from tests.helpers.fake_openai import FAULTS, better, serve

KEY = "sk-test-0123456789"
# Time enough for an answer: one that a busy machine takes for late would be asked for again.
FAST = {"tries": 12, "timeout": 10.0, "backoff": 0.005, "concurrency": 8, "price": (2.5, 10.0)}
LATE = ("timeout", "drip")
"""Faults that only an impatient client meets."""
COST = (1000 * 2.5 + 10 * 10.0) / 1e6
"""Of one of the server's answers at that price."""


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def open_file(battles, tmp_path, n_pairs=12):
    return PreferencesFile(tmp_path / "preferences.jsonl", sample_pairs(battles.n_episodes, n_pairs, 0), "x")


def lines(file, kind):
    return [line for line in map(json.loads, file.path.read_text().splitlines()) if line["kind"] == kind]


def expected(battles, file) -> list[int]:
    """What a judge without faults says, computed from the descriptions alone."""
    labeller = LLMLabeller()
    answers = []
    for first, second in file.pairs.tolist():
        text = labeller.view(battles, first, second)
        a, rest = text.split("=== FIRST EPISODE ===")[1].split("=== SECOND EPISODE ===")
        answers.append(["first", "second"].index(better(a, rest.split("=== QUESTION ===")[0])))
    return answers


def patience(fault: str | None) -> dict[str, float]:
    return {**FAST, "timeout": 0.5, "concurrency": 24} if fault in LATE else FAST


def once(fault):
    return lambda prompt, attempt: fault if attempt == 1 else None


def always(fault):
    return lambda prompt, attempt: fault


def mixture(prompt: str, attempt: int) -> str | None:
    """Three answers in ten fail; the same ones in every run."""
    draw = random.Random(f"{prompt}{attempt}")
    return draw.choice(FAULTS) if draw.random() < 0.3 else None


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_every_fault_is_survived(battles, tmp_path, fault):
    file = open_file(battles, tmp_path)
    with serve(fault=once(fault)) as fake:
        LLMLabeller(base_url=fake.url, **patience(fault)).label(battles, file)
    read = Preferences.read(file.path)
    assert read.answer.tolist() == expected(battles, file)
    assert read.position_consistency == 1
    assert fault in LATE or set(fake.served().values()) == {1}
    assert len(fake.served()) == 24
    good = [line for line in lines(file, "reply") if line["answer"]]
    assert Counter(line["order"] for line in good) == {"forward": 12, "swapped": 12}
    assert all(line["model"] == "fake-1" and json.loads(line["raw"]) for line in good)
    assert all(line["usage"] == {"prompt_tokens": 1000, "completion_tokens": 10} for line in good)
    assert all(line["cost"] == pytest.approx(COST) for line in good)


def test_a_mixture_loses_nothing_and_asks_nothing_twice(battles, tmp_path):
    file = open_file(battles, tmp_path, 60)
    with serve(fault=mixture) as fake:
        LLMLabeller(base_url=fake.url, **{**FAST, "timeout": 3.0, "concurrency": 24}).label(battles, file)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert len(fake.served()) == 120
    assert set(fake.served().values()) == {1}
    assert len({entry["fault"] for entry in fake.log}) > 8, "the mixture must hold most faults"


@pytest.mark.parametrize(
    ("fault", "reason", "asked"),
    [
        ("empty", "empty", 3),
        ("invalid", "malformed", 3),
        ("schema", "malformed", 3),
        ("refusal", "refused", 1),
    ],
)
def test_a_finished_answer_without_a_winner_is_a_tie_with_its_reason(battles, tmp_path, fault, reason, asked):
    file = open_file(battles, tmp_path)
    bad = LLMLabeller().view(battles, *file.pairs[5].tolist())
    with serve(fault=lambda prompt, attempt: fault if prompt == bad else None) as fake:
        LLMLabeller(base_url=fake.url, **{**patience(fault), "tries": 3}).label(battles, file)
    read = Preferences.read(file.path)
    others = [pair for pair in range(12) if pair != 5]
    assert (read.answer[5], read.answer[others].tolist()) == (-1, np.array(expected(battles, file))[others].tolist())
    assert [why.startswith(reason) for why in read.tie_reasons] == [True]
    assert read.tie_share == pytest.approx(1 / 12)
    assert fake.attempts[bad] == asked
    with serve() as well:
        LLMLabeller(base_url=well.url, **FAST).label(battles, open_file(battles, tmp_path))
    assert not well.log, "what a model finished is not paid for again"


@pytest.mark.parametrize(
    ("fault", "reason", "asked"),
    [
        ("503", "HTTP 503", 3),
        ("500", "HTTP 500", 3),
        ("reset", "connection lost", 3),
        ("timeout", "timeout", 3),
        ("drip", "timeout", 3),
        ("429", "HTTP 429", 3),
        ("garbage", "no JSON in an HTTP 200: 'gateway'", 3),
    ],
)
def test_what_failed_on_the_way_is_asked_again_by_the_next_run(battles, tmp_path, fault, reason, asked):
    file = open_file(battles, tmp_path)
    bad = LLMLabeller().view(battles, *file.pairs[5].tolist())
    with serve(fault=lambda prompt, attempt: fault if prompt == bad else None) as fake:
        impatient = {**patience(fault), "tries": 3}
        with pytest.raises(MisodiceError, match="1 of 12 pairs have no answer") as caught:
            LLMLabeller(base_url=fake.url, **impatient).label(battles, file)
        # A busy machine may not have read the request by the time the client gives it up.
        assert fake.attempts[bad] == asked or (fault in LATE and 1 <= fake.attempts[bad] < asked)
        assert reason in str(caught.value)
        assert open_file(battles, tmp_path).missing == [5]
        skipping = LLMLabeller(base_url=fake.url, **impatient, skip_failed=True)
        skipping.label(battles, open_file(battles, tmp_path))
        assert [line["pair"] for line in lines(file, "left_out")] == [5]
    with serve() as well:
        LLMLabeller(base_url=well.url, **FAST).label(battles, open_file(battles, tmp_path))
    assert [entry["prompt"] for entry in well.log] == [bad]
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_retry_after_holds_up_every_request(battles, tmp_path):
    file = open_file(battles, tmp_path)
    first: list[str] = []

    def fault(prompt, attempt):
        first.append(prompt)
        return "429_after" if len(first) == 4 else None

    with serve(fault=fault) as fake:
        LLMLabeller(base_url=fake.url, **{**FAST, "concurrency": 1}).label(battles, file)
    refused = next(i for i, entry in enumerate(fake.log) if entry["fault"] == "429_after")
    assert fake.log[refused + 1]["time"] - fake.log[refused]["time"] >= 0.29
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", "does not accept the key"),
        ("402", "account's balance"),
        ("403", "refuses access"),
        ("404", "labeller.model"),
        ("quota", "quota is used up"),
    ],
)
@pytest.mark.parametrize("after", [0, 10])
def test_what_no_request_survives_stops_with_one_message(battles, tmp_path, fault, words, after):
    file = open_file(battles, tmp_path)
    asked: list[str] = []

    def fail(prompt, attempt):
        asked.append(prompt)
        return fault if len(asked) > after else None

    with serve(fault=fail) as fake:
        with pytest.raises(MisodiceError, match=words) as caught:
            LLMLabeller(base_url=fake.url, **FAST).label(battles, file)
        assert len(asked) <= after + FAST["concurrency"]
        assert KEY not in str(caught.value)
        assert not [line for line in lines(file, "preference") if line["answer"] == "tie"]
    paid = [line for line in lines(file, "reply") if line["final"]]
    with serve() as mended:  # another server: the first may still be serving what the client no longer waits for
        LLMLabeller(base_url=mended.url, **FAST).label(battles, open_file(battles, tmp_path))
    assert set(mended.served().values()) == {1}
    assert len(mended.served()) == 24 - len(paid)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_a_server_that_is_gone_stops_the_run(battles, tmp_path):
    file = open_file(battles, tmp_path, 60)
    with serve() as fake:
        asked: list[str] = []
        fake.fault = lambda prompt, attempt: asked.append(prompt) or (None if len(asked) < 5 else "503")
        with pytest.raises(MisodiceError, match="20 requests in a row failed after 2 tries"):
            LLMLabeller(base_url=fake.url, **{**FAST, "tries": 2}).label(battles, file)
    with serve(fault=always("503")) as gone, pytest.raises(MisodiceError, match="gave no answer in 2 tries"):
        LLMLabeller(base_url=gone.url, **{**FAST, "tries": 2}).label(battles, open_file(battles, tmp_path / "other"))


def test_a_judge_that_always_says_first_ends_as_ties(battles, tmp_path):
    file = open_file(battles, tmp_path)
    with serve(judge=lambda first, second: "first") as fake:
        LLMLabeller(base_url=fake.url, **FAST).label(battles, file)
    read = Preferences.read(file.path)
    assert not read.informative.any()
    assert read.tie_reasons == {"inconsistent": 12}
    assert read.position_consistency == 0


def test_a_judge_that_sees_no_difference(battles, tmp_path):
    file = open_file(battles, tmp_path)
    with serve(judge=lambda first, second: "tie") as fake:
        LLMLabeller(base_url=fake.url, **FAST).label(battles, file)
    assert Preferences.read(file.path).tie_reasons == {"judged equal": 12}


def test_the_budget_stops_and_a_higher_one_goes_on(battles, tmp_path):
    file = open_file(battles, tmp_path)
    with serve() as fake:
        with pytest.raises(MisodiceError, match=r"budget of 0\.02 USD is reached.*raise labeller.budget"):
            LLMLabeller(base_url=fake.url, budget=0.02, **FAST).label(battles, file)
        paid = sum(line["cost"] for line in lines(file, "reply"))
        assert 0.01 < paid <= 0.02 + COST
        assert 0 < len(lines(file, "reply")) < 24
        again = open_file(battles, tmp_path)
        with pytest.raises(MisodiceError, match="budget"):
            LLMLabeller(base_url=fake.url, budget=0.02, **FAST).label(battles, again)
        assert sum(line["cost"] for line in lines(file, "reply")) <= paid + COST
        LLMLabeller(base_url=fake.url, budget=5.0, **FAST).label(battles, open_file(battles, tmp_path))
    assert set(fake.served().values()) == {1}
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_prices(battles, tmp_path):
    file = open_file(battles, tmp_path)
    known = LLMLabeller("gpt-4o-2024-08-06").estimate(battles, file)
    assert known.requests == 24
    assert known.cost == pytest.approx((known.prompt_tokens * 2.5 + known.completion_tokens * 10) / 1e6)
    assert LLMLabeller(batch=True).estimate(battles, file).cost == pytest.approx(known.cost / 2)
    assert LLMLabeller("gpt-4o-mini").estimate(battles, file).cost < known.cost
    assert "price unknown" in str(LLMLabeller("llama").estimate(battles, file))
    assert LLMLabeller("llama", price=(0, 0)).estimate(battles, file).cost == 0
    with pytest.raises(MisodiceError, match="price of model 'llama' is unknown"):
        LLMLabeller("llama", budget=1.0)


def test_an_estimate_touches_nothing(battles, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    file = open_file(battles, tmp_path)
    assert "24 requests" in str(LLMLabeller().estimate(battles, file))
    assert not list(tmp_path.iterdir())


def test_a_missing_key_is_named(battles, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MisodiceError, match="OPENAI_API_KEY is not set"):
        LLMLabeller().label(battles, open_file(battles, tmp_path))
    assert not list(tmp_path.iterdir())
    with serve() as fake:
        LLMLabeller("local", base_url=fake.url).label(battles, open_file(battles, tmp_path))
    with pytest.raises(MisodiceError, match="base_url holds a user name"):
        LLMLabeller(base_url="http://me:secret@host/v1")


def test_the_key_is_sent_and_never_written(battles, tmp_path, capsys, caplog):
    file = open_file(battles, tmp_path)
    wording = f'{{{{"winner": "{{}}", "reason": "you sent {KEY}"}}}}'
    bad = LLMLabeller().view(battles, *file.pairs[5].tolist())
    with serve(wording=wording, fault=lambda prompt, attempt: "413" if prompt == bad else None) as fake:
        labeller = LLMLabeller(base_url=fake.url, **FAST)
        labeller.label(battles, file)
    assert {entry["key"] for entry in fake.log} == {f"Bearer {KEY}"}
    output = capsys.readouterr()
    assert KEY not in file.path.read_text() + output.out + output.err + caplog.text + json.dumps(labeller.identity())
    assert "you sent ***" in file.path.read_text()
    assert "rejected Bearer ***" in file.path.read_text()


@pytest.mark.parametrize(
    ("takes", "status", "structured"),
    [
        (("json_schema",), 400, "json_schema"),
        (("json_object",), 500, "json_object_with_schema"),
        (("json_object",), 400, "json_object_with_schema"),
        ((), 422, "text"),
    ],
)
def test_what_the_server_takes_is_found_once(battles, tmp_path, takes, status, structured):
    file = open_file(battles, tmp_path)
    with serve(takes=takes, refusal_of_format=status) as fake:
        LLMLabeller(base_url=fake.url, **FAST).label(battles, file)
        refused = [entry for entry in fake.log if entry["fault"] == "format"]
        assert len(refused) <= 9
        assert refused == fake.log[: len(refused)], "only before the first answer"
        text = file.path.read_text()
        file.path.write_text("".join(line + "\n" for line in text.splitlines()[:8]))
        before = len(fake.log)
        LLMLabeller(base_url=fake.url, **FAST).label(battles, open_file(battles, tmp_path))
        assert not [entry for entry in fake.log[before:] if entry["fault"] == "format"]
    assert [line["takes"] for line in lines(file, "structured")] == [structured]
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_a_server_that_ignores_the_format_is_read_as_text(battles, tmp_path):
    file = open_file(battles, tmp_path)
    asked = 0
    with serve(wording="I think it is this: {}.") as fake:
        with serve(wording="{}") as plain:
            LLMLabeller(base_url=plain.url, **FAST).label(battles, file)
        other = LLMLabeller(base_url=fake.url, **FAST)
        for _ in range(2):
            other.label(battles, open_file(battles, tmp_path / "o", 4))
            asked = asked or len(fake.log)
        assert len(fake.log) == asked <= 8 * 3, "the second run pays for nothing"
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert Preferences.read(tmp_path / "o" / "preferences.jsonl").tie_reasons == {"malformed": 4}


def test_a_reason_on_request(battles, tmp_path):
    file = open_file(battles, tmp_path)
    with serve(wording='{{"reason": "fewer deaths", "winner": "{}"}}') as fake:
        LLMLabeller(base_url=fake.url, reason=True, **FAST).label(battles, file)
    assert {line["reason"] for line in lines(file, "reply")} == {"fewer deaths"}
    schema = fake.log[0]["body"]["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["reason", "winner"]


class OfAUser(LLMLabeller):
    """Another judge: the source of a subclass counts."""


def test_identity_is_what_changes_answers():
    same = [LLMLabeller(), LLMLabeller(budget=3.0, concurrency=2, batch=True, tries=2, timeout=1.0)]
    assert same[0].identity() == same[1].identity()
    others = [
        LLMLabeller("gpt-4o-mini"),
        LLMLabeller(reason=True),
        LLMLabeller(parameters={}),
        LLMLabeller(describer=UnitDescriber(moments=1)),
    ]
    identities = [json.dumps(labeller.identity(), sort_keys=True) for labeller in (same[0], *others)]
    assert len(set(identities)) == 5
    assert fingerprint(same[0].identity()) == fingerprint(same[1].identity()) != fingerprint(OfAUser().identity())


def test_bad_options_are_refused():
    with pytest.raises(MisodiceError, match=r"concurrency: found 0, expected a whole number from 1 to 1000"):
        LLMLabeller(concurrency=0)
