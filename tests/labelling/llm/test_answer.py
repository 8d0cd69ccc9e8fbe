"""The winner in a model's text, in the forms that models give."""

import json
import time
from contextlib import suppress

import pytest
from hypothesis import example, given, settings, strategies as st

from misodice.labelling.llm.answer import ANSWERS, KEYS, read_answer, without_reasoning
from misodice.labelling.llm.completion import payload_of, read_completion
from misodice.labelling.llm.failures import FailedError
from misodice.labelling.llm.question import limit_of, without_limit

CLEAR = [
    ('{"winner": "first"}', "first"),
    ('{"winner": "First"}', "first"),
    ('{"winner": "SECOND"}', "second"),
    ('{"Winner": " second. "}', "second"),
    ('{"winner": "first episode"}', "first"),
    ('{"winner": "the second episode"}', "second"),
    ('{"winner": "Episode 1"}', "first"),
    ('{"winner": "2nd"}', "second"),
    ('{"winner": "draw"}', "tie"),
    ('{"winner": "a tie"}', "tie"),
    ('{"winner": "first",}', "first"),
    ('```json\n{"winner": "first",}\n```', "first"),
    ("{'winner': 'second'}", "second"),
    ("{“winner”: “second”}", "second"),
    ("{winner: first}", "first"),
    ('{\n\t"winner": "tie", // equal\n}', "tie"),
    ('{\n\t"winner": "tie",\n}', "tie"),
    ('{"reason": "line\nbreak", "winner": "first"}', "first"),
    ('Sure!\n```json\n{"reason": "fewer {deaths}", "winner": "second"}\n```', "second"),
    ('{"answer": {"winner": "first"}}', "first"),
    ('[{"winner": "first"}]', "first"),
    ('{"answer": "second"}', "second"),
    ('{"preference": "first", "confidence": 0.9}', "first"),
    ('{"reason": "I thought {\\"winner\\": \\"first\\"}", "winner": "second"}', "second"),
    ('{"winner": "first"} {"winner": "first"}', "first"),
    ('{"winner": "first"}\nWinner: first', "first"),
    ('["first"]', "first"),
    ("Tie.", "tie"),
    ("first.", "first"),
    ("**Second**", "second"),
    ("“second”", "second"),
    ('```\n"first"\n```', "first"),
    ("The first episode.", "first"),
    ("Episode 2", "second"),
    ("Winner: first", "first"),
    ("winner = second", "second"),
    ("The allies lost fewer units.\n\n**Winner:** Second", "second"),
    ("The winner is the first episode.", "first"),
    ("Final answer: tie", "tie"),
    ("\\boxed{first}", "first"),
    ("so \\boxed{\\text{second}}", "second"),
    ("<answer>first</answer>", "first"),
    ('<think>Maybe {"winner": "first"}? No.</think>\n{"winner": "second"}', "second"),
    ('a thought {"winner": "first"} without a beginning</think>{"winner": "second"}', "second"),
    ("<thinking>first</thinking>second", "second"),
    ('[THINK]{"winner": "tie"}[/THINK]{"winner": "first"}', "first"),
    ('◁think▷{"winner": "tie"}◁/think▷{"winner": "first"}', "first"),
    ('<|channel|>analysis<|message|>{"winner": "tie"}<|end|><|channel|>final<|message|>{"winner": "first"}', "first"),
    ('{"winner": "second"}<think>was that right?', "second"),
    ('<seed:think>{"winner": "tie"}</seed:think>{"winner": "first"}', "first"),
    ('<|begin_of_thought|>{"winner": "tie"}<|end_of_thought|><|begin_of_solution|>{"winner": "first"}', "first"),
    ('<think time="3">{"winner": "tie"}</think>{"winner": "first"}', "first"),
    ('<|START_THINKING|>{"winner": "tie"}<|END_THINKING|>{"winner": "first"}'.replace("ING", ""), "first"),
    ('<|START_THINKING|>{"winner": "tie"}<|END_THINKING|>{"winner": "first"}', "first"),
    (
        '<|channel|>analysis<|message|>a</think>{"winner": "tie"}<|end|><|start|>assistant<|channel|>final '
        '<|constrain|>json<|message|>{"winner": "first"}',
        "first",
    ),
    ('analysisMaybe {"winner": "tie"}assistantfinal{"winner": "first"}', "first"),
    ("Analysis: few deaths.\nWinner: first", "first"),
    ('{"winner":"first","result":"victory"}', "first"),
    ('{"status":"ok","result":"success","winner":"second"}', "second"),
    ('{"winner":"first","preference":0.8}', "first"),
    ('{"better": false,"winner":"first"}', "first"),
    ('{"winner":"first","choice":null,"decision":["clear"]}', "first"),
    ('{"answer": 1, "winner": "tie", "verdict": "the first"}'.replace("the first", "even"), "tie"),
    ('{"winner":"first","answer":"The first episode"}', "first"),
    ("\\frac{a}{b} " * 200 + '{"winner": "first"}', "first"),
]
UNCLEAR = [
    *('{"winner": "third"}', '{"winner": ["first"]}', '{"winner": null}', '{"winner": 1}', '{"winner": "1"}'),
    *(
        '{"winner": "both"}',
        '{"winner": "first or second"}',
        '{"winner": "not first"}',
        '{"winner": "fir',
        '{"best": 1}',
    ),
    *(
        '{"worse": "first"}',
        '{"best": 1}',
        '{"first": "better", "second": "worse"}',
        '{"winner": ""}',
        "1",
        "A",
        "",
        " ",
    ),
    *('{"winner": "second"}\nOther possible outputs: {"winner": "first"}', '{"winner": "first", "winner": "second"}'),
    *("{winner: first, winner: second,}", '{"draft": {"winner": "first"}, "winner": "second"}'),
    *('{"winner": "first"}\nWinner: second', '{"answer": "first", "winner": "second"}', "Winner: first\nWinner: tie"),
    *('{"winner": "third"}{"winner": "first"}', '{"winner": "first" or "second" or "tie"}', "first second"),
    *("The first is better than the second", "Winner: first (narrowly)", "Winner: first or second", "not first"),
    *('{"winner":"first","result":"second"}', '{"winner":"first","result":"the second won"}'),
    *('{"winner":"first","choice":"episode 2"}', '{"result":"victory","answer":"first"}'),
    *('{"winner":"first","answer":["second"]}', '{"winner":"third","result":"victory"}'),
    *('<seed:think>draft {"winner":"first"}', '<think time="3">{"winner": "first"}', "<|thinking|>first"),
    '<|begin_of_thought|>{"winner":"first"} hmm<|end_of_thought|> I cannot say',
    *('<|channel|>analysis<|message|>maybe {"winner":"first"} but', '<|begin_of_thought|>{"winner":"first"}'),
    *('<|channel|>commentary to=x<|message|>{"winner":"first"}', 'analysisMaybe {"winner":"first"}'),
    *('[THINKING]{"winner":"first"}', '<scratchpad>{"winner":"first"}', '<|START_THINKING|>{"winner": "tie"}'),
    '<|channel|>analysis<|message|>a</think>{"winner": "first"}',
    *('<think>{"winner": "first"}, but wait', '{"winner": "first"}</think>', "<think>first", "[" * 9999, "{" * 2000),
]


@pytest.mark.parametrize(("text", "winner"), CLEAR)
def test_clear_answers_are_read(text, winner):
    assert read_answer(text).answer == winner


@pytest.mark.parametrize("text", UNCLEAR)
def test_unclear_answers_are_not_guessed(text):
    named = read_answer(text)
    assert named.answer is None
    assert named.problem in ("malformed", "names several winners")


def test_several_winners_are_told_as_that():
    assert read_answer('{"winner": "first"} or {"winner": "tie"}').problem == "names several winners"
    assert read_answer('{"winner": "first", "reason": "a"}').reason == "a"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 50_000,
        '{"a":[' * 50_000,
        '{"' * 200_000,
        "{a: [" * 800 + "}" * 800,
        ("{" + "a, " * 1300 + "[}") * 200,
        ("{&a [*a, " * 100 + "}" * 20) * 100,
        "<think" * 100_000,
        "<|channel|>" * 100_000,
        "Winner: " * 100_000,
        "first " * 100_000,
    ],
)
def test_no_text_takes_long(text):
    began = time.process_time()
    assert read_answer(text).answer is None
    assert time.process_time() - began < 3


NAMES = st.sampled_from(sorted(ANSWERS))
CASE = st.sampled_from([str.lower, str.upper, str.title])
QUOTES = st.sampled_from(['""', "''", "“”", "‘’"])
FILLER = st.text(st.characters(exclude_characters="{}[]<>\\`◁", exclude_categories=["Cs"]), max_size=40)
FRAMES = st.sampled_from(["{}", "```json\n{}\n```", "```{}```", "<think>first? second? {{</think>{}", "\n\n{}\n"])


@settings(max_examples=200, deadline=None)
@given(NAMES, CASE, QUOTES, st.booleans(), FRAMES, FILLER)
def test_a_winner_is_read_in_every_dress(name, case, quotes, comma, frame, before):
    left, right = quotes
    text = f"{{{left}winner{right}: {left}{case(name)}{right}{',' * comma}}}"
    said = read_answer(before.replace(":", " ").replace("=", " ") + "\n" + frame.format(text))
    # Words before it may be an answer themselves, and then only an equal one.
    assert said.answer in (ANSWERS[name], None)
    if said.answer is None:
        assert said.problem == "names several winners"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["first", "second", "tie", "third", None, 1]), min_size=2, max_size=4), FILLER)
def test_of_different_winners_none_is_chosen(winners, between):
    said = read_answer(between.join(json.dumps({"winner": winner}) for winner in winners))
    alike = len(set(map(str, winners))) == 1 and winners[0] in ("first", "second", "tie")
    assert said.answer == (winners[0] if alike else None)


PIECES = st.sampled_from(
    ["first", "second", "tie", "winner", "{", "}", "[", "]", '"', "'", ":", ",", "&a ", "*a ", "<think>", "</think>",
     "\n", "\\", " ", "Winner: ", "```", "1", "null", "{{", "!!python/x ", "? ", "- ", "\x00", "\ud800"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=30).map("".join))
@example('{"winner": "first"}' * 3)
def test_no_text_breaks_the_reader_and_none_is_guessed(text):
    said = read_answer(text)
    assert (said.answer is None) == (said.problem is not None)
    rest = without_reasoning(text).lower()
    if said.answer is not None:
        assert any(name.split()[-1] in rest for name, answer in ANSWERS.items() if answer == said.answer)


KEYS_OF_REPLIES = (
    *("choices", "message", "content", "refusal", "usage", "model", "finish_reason", "prompt_tokens", "error", "code"),
    *("type", "text", "detail", "winner", *KEYS),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["length", "stop", "text", "first", "429"]),
    lambda part: st.lists(part) | st.dictionaries(st.sampled_from(KEYS_OF_REPLIES), part),
)


@settings(deadline=None)
@given(JSON, JSON)
def test_no_completion_breaks_the_reader(part, finish):
    choice = {"message": {"content": part, "refusal": part}, "finish_reason": finish}
    for payload in (part, {"choices": [choice], "usage": part}, {"choices": part, "error": finish}):
        with suppress(FailedError):  # which is what an error in a 200 raises
            reply = read_completion(payload)
            assert (reply.answer is None) == (reply.problem is not None)
            assert reply.answer is None or str(finish).lower() not in ("length", "error")


def completion(content, finish="stop", **message):
    return {"choices": [{"finish_reason": finish, "message": {"content": content, **message}}], "usage": {}}


@pytest.mark.parametrize("finish", ["length", "LENGTH", "max_tokens", "model_length", "model_context_window_exceeded"])
@pytest.mark.parametrize("content", ['{"winner": "first"}', "", None, '<think>{"winner": "first"}'])
def test_an_answer_that_was_cut_off_is_none(finish, content):
    reply = read_completion(completion(content, finish))
    assert (reply.answer, reply.problem, reply.final) == (None, "cut off", False)


@pytest.mark.parametrize(
    ("content", "winner"),
    [
        ([{"type": "text", "text": '{"winner": "first"}'}], "first"),
        ([{"type": "text", "text": '{"winner":'}, {"type": "text", "text": ' "second"}'}], "second"),
        ([{"type": "thinking", "thinking": [{"type": "text", "text": '{"winner": "tie"}'}]},
          {"type": "text", "text": '{"winner": "first"}'}], "first"),
        (['{"winner": "first"}'], "first"),
        ({"winner": "first"}, "first"),
        ([], None), ([{"type": "image_url"}], None), (7, None), (None, None), ("  \n", None),
    ],
)  # fmt: skip
def test_content_in_parts(content, winner):
    reply = read_completion(completion(content))
    assert reply.answer == winner
    assert winner or reply.problem == "empty"


@pytest.mark.parametrize(
    ("payload", "kind", "words"),
    [
        ({"error": {"message": "daily allowance used up", "code": 429}}, "transport", "daily allowance"),
        ({"error": {"message": "no such user"}}, "transport", "no such user"),
        ({"error": "overloaded"}, "transport", "overloaded"),
        ({"error": {"message": "no credit", "code": 402}}, "account", "no credit"),
        ({"error": {"message": "bad key", "code": "invalid_api_key"}}, "account", "bad key"),
        ({"error": {"message": "none left", "type": "insufficient_quota"}}, "account", "none left"),
        ({"error": {"message": "too long", "code": "context_length_exceeded"}}, "request", "too long"),
        ({"error": {"message": "the prompt was flagged", "code": 403}}, "request", "flagged"),
        ({"object": "error", "message": "busy", "code": 50001}, "transport", "busy"),
        ({"detail": "not ready"}, "transport", "not ready"),
        ({"choices": [{"error": {"code": 502, "message": "upstream"}, "message": {}}]}, "transport", "upstream"),
        ({"choices": []}, "transport", "choices"),
        ({"choices": None}, "transport", "choices"),
        ([], "transport", ""),
        (completion('{"winner": "first"}', "error"), "transport", ""),
        (completion("", "insufficient_system_resource"), "transport", ""),
    ],
)
def test_an_error_in_a_200_is_no_answer(payload, kind, words):
    with pytest.raises(FailedError) as caught:
        read_completion(payload)
    assert caught.value.kind == kind
    assert words in caught.value.said


def test_a_refusal_is_a_finished_answer():
    reply = read_completion(completion(None, refusal="I cannot."))
    assert (reply.answer, reply.problem, reply.final) == (None, "refused", True)


@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "sensitive", "refusal", "FINISH_REASON_SAFETY"])
def test_what_a_filter_stopped_is_not_final(finish):
    reply = read_completion(completion('{"winner": "first"}', finish))
    assert (reply.answer, reply.problem, reply.failure) == (None, "refused by a content filter", "request")
    assert not reply.final
    assert reply.usage == {}, "it is paid for"


@pytest.mark.parametrize(
    "finish", [None, "", "stop", "STOP", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE"]
)
def test_an_answer_that_ended_by_itself_is_read(finish):
    assert read_completion(completion('{"winner": "first"}', finish)).answer == "first"
    payload = completion('{"winner": "first"}')
    del payload["choices"][0]["finish_reason"]
    assert read_completion(payload).answer == "first"


@pytest.mark.parametrize(
    "finish",
    ["network_error", "timeout", "incomplete", "time_limit", "OTHER", "canceled", "new name", 7, True, {"a": 1}],
)
def test_an_answer_of_unknown_or_bad_end_is_none(finish):
    with pytest.raises(FailedError) as caught:
        read_completion(completion('{"winner": "first"}', finish))
    assert caught.value.kind == "transport"
    assert str(finish).lower() in caught.value.problem.replace('"', "'")


def test_the_json_of_a_reply():
    assert payload_of('\ufeff{"a": 1}') == {"a": 1}
    for text in ('{"a": ' + "1" * 5000 + "}", "[" * 200_000, "<html>", "", "\ufeff"):
        with pytest.raises(FailedError, match="no JSON in an HTTP 200") as caught:
            payload_of(text)
        assert caught.value.kind == "transport"


def test_a_limit_does_not_change_what_an_answer_depends_on():
    limits = [{"max_tokens": 200}, {"max_tokens": 5000}, {"max_completion_tokens": 9}, {}]
    assert len({json.dumps(without_limit(parameters)) for parameters in limits}) == 1
    assert without_limit({"temperature": 0, "max_tokens": 7}) == {"temperature": 0, "max_tokens": 200}
    assert [limit_of(parameters) for parameters in limits] == [200, 5000, 9, None]
