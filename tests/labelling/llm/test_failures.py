"""Whatever a server does, only a model's finished answer is final, and the cause is told."""

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import example, given, strategies as st

from misodice.data.preferences import Preferences
from misodice.errors import MisodiceError
from misodice.labelling import LabelJob, Labels, LLMLabeller
from misodice.labelling.llm import server as server_file
from misodice.labelling.llm.failures import Said, failure_of, one_line, retry_after, said_in, without_key
from tests.helpers.fake_openai import error, says, serve
from tests.labelling.llm.test_llm import FAST, KEY, expected, lines, open_file

RUN = {**FAST, "tries": 3, "concurrency": 4}


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def label(fake, battles, tmp_path, n_pairs=12, **options):
    file = open_file(battles, tmp_path, n_pairs)
    LLMLabeller(base_url=fake.url, **{**RUN, **options}).label(battles, file)
    return file


def stopped(fake, battles, tmp_path, n_pairs=12, **options) -> str:
    with pytest.raises(MisodiceError) as caught:
        label(fake, battles, tmp_path, n_pairs, **options)
    assert KEY not in str(caught.value)
    return str(caught.value)


def first_refused(body, n, status=400, **more):
    return error(status, "prompt stopped by the content filter", **more) if n == 1 else None


EVERY_REQUEST = {
    "error200": (lambda b, n: (200, {"error": {"message": "daily allowance used up", "code": 429}}), "allowance used"),
    "error200 without a code": (lambda b, n: (200, {"error": "out of order"}), "out of order"),
    "html200": (lambda b, n: (200, "<html><body>sign in to use this network</body></html>"), "sign in to use"),
    "half200": (lambda b, n: (200, '{"choices": [{"mess'), "no JSON in an HTTP 200"),
    "empty200": (lambda b, n: (200, ""), "no JSON in an HTTP 200"),
    "s503": (lambda b, n: error(503, "overloaded"), "HTTP 503: 'overloaded'"),
    "page502": (lambda b, n: (502, "<html><title>Bad Gateway</title></html>"), "HTTP 502: 'Bad Gateway'"),
    "401": (lambda b, n: error(401, f"Incorrect API key provided: {KEY[:8]}****{KEY[-4:]}."), "provided: ***'"),
    "401 in a 200": (lambda b, n: (200, {"error": {"message": "no auth", "code": 401}}), "does not accept the key"),
    "403": (lambda b, n: error(403, "your country is not supported"), "your country is not supported"),
    "quota": (lambda b, n: error(429, "none left", code="insufficient_quota"), "quota is used up"),
    "balance": (lambda b, n: error(402, "Insufficient Balance"), "wants payment"),
    "azure404": (lambda b, n: error(404, "Resource not found", code="404"), "chat/completions"),
    "no such model": (lambda b, n: error(400, "model 'gpt-5o' does not exist"), "check labeller.model"),
    "max_completion": (
        lambda b, n: error(400, "send max_completion_tokens", param="max_tokens", code="unsupported_parameter"),
        "set labeller.parameters",
    ),
    "detail": (
        lambda b, n: (422, {"detail": [{"loc": ["body", "temperature"], "msg": "too low"}]}),
        "does not take one of the parameters",
    ),
    "400": (lambda b, n: error(400, "odd [/request]"), "odd [/request]"),
    "retry_day": (lambda b, n: error(429, "daily limit", {"retry-after": "53578"}), "asks to wait 14 h 53 min"),
}


@pytest.mark.parametrize("name", EVERY_REQUEST)
def test_what_meets_every_request_stops_with_the_servers_words(battles, tmp_path, name):
    script, words = EVERY_REQUEST[name]
    with serve(script=script) as fake:
        message = stopped(fake, battles, tmp_path, 30)
        assert words in message
        assert "\n" not in message
        assert len(fake.log) <= 24
        assert {entry["format"] for entry in fake.log} == {"json_schema"}, "the structured mode is not lowered"
    file = open_file(battles, tmp_path, 30)
    assert len(file.missing) == 30
    assert not [line for line in file.lines if line["kind"] == "preference"]
    with serve() as well:
        file = label(well, battles, tmp_path, 30)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize(
    "script",
    [
        lambda b, n: error(503, "overloaded") if n > 3 else None,
        lambda b, n: (200, {"error": {"message": "overloaded", "code": 503}}) if n > 3 else None,
        lambda b, n: (200, "<html>overloaded</html>") if n > 3 else None,
        lambda b, n: error(400, "overloaded") if n > 3 else None,
        lambda b, n: error(403, "overloaded: content filter") if n > 3 else None,
    ],
)
def test_an_outage_midway_leaves_no_ties(battles, tmp_path, script):
    with serve(script=script) as fake:
        message = stopped(fake, battles, tmp_path, 30)
        assert "20 requests in a row" in message
        assert "overloaded" in message
    with serve() as well:
        file = label(well, battles, tmp_path, 30)
        assert len(well.log) == 57, "only what has no answer is asked"
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (400, {"code": "content_filter", "type": None}),
        (403, {"code": 403}),
        (400, {"innererror": {"code": "ResponsibleAIPolicyViolation"}}),
    ],
)
@pytest.mark.parametrize("at", [1, 7])
def test_a_filter_of_one_prompt_leaves_that_pair_out_and_goes_on(battles, tmp_path, capsys, status, more, at):
    with serve(script=lambda b, n: first_refused(b, n - at + 1, status, **more)) as fake:
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 24
        assert {entry["format"] for entry in fake.log} == {"json_schema"}
        said = capsys.readouterr().out.replace("\n", " ")
        assert "1 pairs are left out without an answer (1 × refused by a content filter: 'prompt stopped by" in said
        assert len(open_file(battles, tmp_path).missing) == 1
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 25, "the next run asks this one again"
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "This model's maximum context length is 4096 tokens", code="context_length_exceeded"),
        error(413, "x"),
        error(400, "prompt is too long: 5000 tokens > 4096 maximum"),
    ],
)
def test_a_prompt_that_is_too_long_is_left_out(battles, tmp_path, refusal):
    with serve(script=lambda b, n: refusal if n == 5 else None) as fake:
        file = label(fake, battles, tmp_path)
    (line,) = lines(file, "left_out")
    assert line["problem"].startswith("prompt too long")


CUT_OFF = {
    "think_truncated": ('<think>A guess would be {"winner": "first"}, but wait, the second', {}),
    "length_empty": ("", {"reasoning_content": "Let me think about"}),
    "a whole answer": ('{"winner": "first"}', {}),
}


@pytest.mark.parametrize("name", CUT_OFF)
def test_a_cut_off_answer_is_none_and_paid_once(battles, tmp_path, capsys, name):
    content, more = CUT_OFF[name]
    longer = {"parameters": {"temperature": 0, "max_tokens": 400}}
    cut = lambda b, n: says(content, "length", **more) if b["max_tokens"] <= 200 else None  # noqa: E731
    with serve(script=cut) as fake:
        message = stopped(fake, battles, tmp_path, 30)
        assert "20 answers in a row were cut off by max_tokens 200: raise it" in message
        assert 'labeller.parameters {"temperature": 0, "max_tokens": 2000}' in message
        asked = len(fake.log)
        assert max(Counter(entry["prompt"] for entry in fake.log).values()) == 1
        assert stopped(fake, battles, tmp_path, 30) == message
        assert len(fake.log) == asked, "the same command does not pay again"
        file = label(fake, battles, tmp_path, 30, **longer)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    assert len([line for line in lines(file, "reply") if line["problem"] == "cut off"]) == asked


def test_few_cut_off_answers_are_left_out_and_asked_again_by_a_longer_limit(battles, tmp_path, capsys):
    cut = lambda b, n: says("", "length") if n in (3, 9) and b["max_tokens"] <= 200 else None  # noqa: E731
    with serve(script=cut) as fake:
        label(fake, battles, tmp_path)
        said = capsys.readouterr().out.replace("\n", " ")
        assert "2 pairs are left out without an answer (2 × cut off)" in said
        assert 'such as labeller.parameters {"temperature": 0, "max_tokens": 2000}' in said
        label(fake, battles, tmp_path)
        assert len(fake.log) == 24
        file = label(fake, battles, tmp_path, parameters={"temperature": 0, "max_tokens": 300})
        assert len(fake.log) == 26, "answers that are whole are kept"
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize("content", ["", None, "I cannot say.", '{"winner": "first"} or {"winner": "second"}'])
def test_finished_answers_without_a_winner_stop_and_are_not_paid_again_and_again(battles, tmp_path, content):
    with serve(script=lambda b, n: says(content)) as fake:
        message = stopped(fake, battles, tmp_path, 60)
        assert "20 requests in a row had no answer" in message
        assert max(Counter(entry["prompt"] for entry in fake.log).values()) == 3
        asked = len(fake.log)
        assert stopped(fake, battles, tmp_path, 60) == message
        assert len(fake.log) == asked


ANSWERS = {
    "parts": lambda winner: [{"type": "text", "text": json.dumps({"winner": winner})}],
    "capital": lambda winner: json.dumps({"winner": winner.title()}),
    "fenced": lambda winner: f'```json\n{{"winner": "{winner}",}}\n```',
    "think_ok": lambda winner: f'<think>Maybe {{"winner": "first"}}?</think>\n{{"winner": "{winner}"}}',
    "word": lambda winner: f"Winner: {winner}",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_in_other_dress_are_understood(battles, tmp_path, name):
    def script(body, n):
        whole = json.loads(fake.answer(body)[1]["choices"][0]["message"]["content"])
        return says(ANSWERS[name](whole["winner"]))

    with serve(script=script) as fake:
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 24
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_a_format_that_is_refused_later_is_told(battles, tmp_path):
    with serve(script=lambda b, n: error(400, "response_format is gone") if n > 1 else None) as fake:
        message = stopped(fake, battles, tmp_path)
    assert "does not take response_format json_schema any more" in message
    assert "delete the line of kind 'structured'" in message


@pytest.mark.parametrize("status", [400, 422, 500, 501])
def test_a_format_that_is_refused_without_a_word_is_found_by_trying(battles, tmp_path, capsys, status):
    with serve(script=lambda b, n: (status, "") if "response_format" in b else None) as fake:
        file = label(fake, battles, tmp_path)
    assert [line["takes"] for line in lines(file, "structured")] == ["text"]
    assert f"takes response_format text where another one failed (HTTP {status})" in capsys.readouterr().out
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_a_retry_is_told_in_one_line(battles, tmp_path, capsys):
    with serve(script=lambda b, n: error(503, "overloaded [x]") if n in (4, 5, 6) else None) as fake:
        label(fake, battles, tmp_path)
    said = capsys.readouterr().out
    assert said.count("HTTP 503: 'overloaded [x]'; trying again in") == 1
    assert "(try 2 of 3)" in said


def test_a_wait_that_is_short_enough_is_waited_for(battles, tmp_path, monkeypatch, capsys):
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    with serve(script=lambda b, n: error(429, "slow down", {"retry-after": date}) if n == 4 else None) as fake:
        label(fake, battles, tmp_path)
    assert "as the server asks" in capsys.readouterr().out
    monkeypatch.setattr(server_file, "MAX_WAIT", 0.2)
    with serve(script=lambda b, n: error(429, "x", {"retry-after-ms": "300"}) if n == 4 else None) as fake:
        assert "asks to wait 0.3 s" in stopped(fake, battles, tmp_path / "other")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7.5 "}, 7.5),
        ({"retry-after": "0"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "5 s"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3),
        ({}, None),
    ],
)
def test_retry_after(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_dates():
    for zone in ("GMT", "-0000", "+0000"):
        date = datetime.fromtimestamp(time.time() + 3600, UTC).strftime(f"%a, %d %b %Y %H:%M:%S {zone}")
        assert retry_after({"retry-after": date}) == pytest.approx(3600, abs=5)


@given(st.text(max_size=40))
def test_no_header_breaks_the_reader(text):
    seconds = retry_after({"retry-after": text})
    assert seconds is None or 0 < seconds < float("inf")


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: (
        st.lists(part)
        | st.dictionaries(st.sampled_from(["error", "message", "code", "type", "param", "detail", "innererror"]), part)
    ),
)


@example({"code": "\n"}, None)
@given(BODIES, st.sampled_from([None, 400, 401, 403, 404, 413, 422, 429, 500, 503]))
def test_no_error_breaks_the_reader(body, status):
    for given_body in (body, json.dumps(body), str(body)):
        failure = failure_of(said_in(given_body, status), ("max_tokens",))
        assert failure.problem
        assert "\n" not in failure.said
        assert len(failure.said) <= 200


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said(400, "Invalid parameter: 'response_format' of type 'json_schema' is not supported"), "format"),
        (Said(400, "This response_format type is unavailable now"), "format"),
        (Said(422, '[{"loc": ["body", "response_format", "type"]}]'), "format"),
        (Said(400, "something went wrong"), "request"),
        (Said(400, "n must be 1", param="n"), "request"),
        (Said(400, "max_tokens is too large"), "parameter"),
        (Said(400, "'max_tokens' is too large: maximum context length is 4096"), "request"),
        (Said(400, "no", code="unsupported_value", param="temperature"), "parameter"),
        (Said(429, "slow"), "transport"),
        (Said(529, "overloaded"), "transport"),
        (Said(403, "denied"), "account"),
        (Said(403, "input was flagged"), "request"),
        (Said(None, "anything"), "transport"),
        (Said(302, ""), "account"),
    ],
)
def test_kinds(said, kind):
    assert failure_of(said, ("max_tokens", "temperature")).kind == kind


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (Said(403, "Your request was rejected by our risk control"), "request"),
        (Said(403, ""), "request"),
        (Said(403, "Forbidden"), "request"),
        (Said(403, "no", code="permission_denied"), "account"),
        (Said(403, "no", code="AccessDenied"), "account"),
        (Said(403, "this API key is disabled"), "account"),
        (Said(403, "free quota exceeded"), "account"),
        (Said(403, "your country is not supported"), "account"),
        (Said(401, "risk"), "account"),
        (Said(404, "risk"), "account"),
    ],
)
def test_a_403_after_an_answer_is_of_one_request_unless_it_speaks_of_access(said, kind):
    assert failure_of(said, answered=True).kind == kind
    assert failure_of(said).kind == "account"


def test_a_403_for_one_prompt_leaves_that_pair_out(battles, tmp_path):
    risk = "Your request was rejected by our risk control"
    with serve(script=lambda b, n: error(403, risk) if n == 7 else None) as fake:
        file = label(fake, battles, tmp_path)
        assert [line["problem"] for line in lines(file, "left_out")] == ["HTTP 403"]
    with serve(script=lambda b, n: error(403, risk) if n == 1 else None) as fake:
        file = label(fake, battles, tmp_path)  # the file has answers: the key was good then
        assert len(fake.log) == 1
    with serve() as fake:
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 1
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
    with serve(script=lambda b, n: error(403, risk)) as fake:
        assert risk in stopped(fake, battles, tmp_path / "other")
        assert len(fake.log) == 1


def test_a_filter_in_a_200_leaves_that_pair_out_and_is_asked_again(battles, tmp_path):
    with serve(script=lambda b, n: says("", "content_filter") if n == 7 else None) as fake:
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 24
        assert [line["problem"] for line in lines(file, "left_out")] == ["refused by a content filter"]
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 25
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "no address is named"),
        ({"Location": "URL/elsewhere?token=secret"}, "/v1/elsewhere"),
    ],
)
def test_a_redirect_stops_at_once(battles, tmp_path, headers, words):
    def script(body, n):
        return 302, "", {name: value.replace("URL", fake.url) for name, value in headers.items()}

    with serve(script=script) as fake:
        message = stopped(fake, battles, tmp_path)
        assert len(fake.log) == 1
    assert "redirects to another address: check labeller.base_url" in message
    assert words in message
    assert "HTTP 302" in message
    assert "secret" not in message


def test_a_redirect_to_itself_stops_at_once(battles, tmp_path):
    circle = lambda b, n: (307, "", {"Location": f"{fake.url}/chat/completions"})  # noqa: E731
    with serve(script=circle) as fake:
        message = stopped(fake, battles, tmp_path)
    assert "redirects again and again: check labeller.base_url" in message


def test_a_redirect_that_keeps_the_question_is_followed(battles, tmp_path):
    with serve() as to, serve(script=lambda b, n: (307, "", {"Location": f"{to.url}/chat/completions"})) as fake:
        file = label(fake, battles, tmp_path)
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)


def test_words_on_one_line():
    assert one_line("a\n\tb\x1b[31m c" + "x" * 300).startswith("a b [31m cxxx")
    assert said_in("<html><style>p{}</style><p>sign&nbsp;in</p></html>", 200).words == "sign in"
    assert without_key(f"key {KEY[:9]} and {KEY}.", KEY) == "key *** and ***."
    assert without_key("nothing", None) == "nothing"


def test_a_job_goes_on_without_what_was_refused_and_label_asks_again(battles, tmp_path, console):
    with serve(script=first_refused) as fake:
        labels = Labels(LLMLabeller(base_url=fake.url, **RUN), n_pairs=12)

        def job():
            return LabelJob(labels, battles, "d", tmp_path / "run", tmp_path / "shared", True, console)

        preferences = job().answer()
        assert preferences.tie_reasons == {"refused by a content filter": 1}
        assert len(preferences.answer) == 12
        assert list(job().left_out.values()) == ["refused by a content filter"]
        job().answer()
        assert len(fake.log) == 24, "fit goes on with what there is, without a server"
        assert job().answer(ask_again=True).informative.all()
        assert not job().left_out
        assert len(fake.log) == 25
    said = console.export_text()
    assert "11 of 12 pairs have a winner; left out as ties: 1 refused by a content filter" in said
    assert "`misodice label` asks again" in said
    (common,) = (tmp_path / "shared").glob("preferences-*.jsonl")
    assert (tmp_path / "run" / "preferences.jsonl").read_bytes() == common.read_bytes()


def test_old_files_whose_failures_were_final_are_asked_again(battles, tmp_path):
    with serve() as fake:
        file = label(fake, battles, tmp_path)
        old = []
        for line in map(json.loads, file.path.read_text().splitlines()):
            if line["kind"] == "preference" and line["pair"] == 3:
                continue
            if line["kind"] == "reply":
                line.pop("failure"), line.pop("limit")
                if line["pair"] == 3 and line["order"] == "forward":
                    line |= {"answer": None, "problem": "HTTP 503", "final": True}
            old.append(json.dumps(line) + "\n")
        file.path.write_text("".join(old))
        file = label(fake, battles, tmp_path)
        assert len(fake.log) == 25
    assert Preferences.read(file.path).answer.tolist() == expected(battles, file)
