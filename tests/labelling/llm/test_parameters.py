"""What the constructor refuses, before anything is asked or written."""

import datetime

import pytest

from misodice.errors import MisodiceError
from misodice.labelling import LLMLabeller
from misodice.labelling.llm.parameters import check_parameters

NAN, INF = float("nan"), float("inf")
LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temperature": NAN}, "parameters.temperature cannot be said in JSON"),
        ({"temperature": -INF}, "parameters.temperature cannot be said in JSON"),
        ({"logit_bias": {"1": [INF]}}, "parameters.logit_bias cannot be said in JSON"),
        ({"stop": datetime.date(2024, 1, 1)}, "parameters.stop cannot be said in JSON"),
        ({"seed": 10**5000}, "parameters.seed cannot be said in JSON"),
        ({"stop": LOOP}, "parameters.stop cannot be said in JSON"),
        ({"stop": "\ud800"}, "parameters.stop cannot be said in JSON"),
        ({"response_format": 3}, "holds 'response_format', which the labeller sets itself; leave it out"),
        ({"model": "x"}, "set labeller.model"),
        ({"messages": []}, "give labeller.template"),
        ({"stream": True}, "'stream', which the labeller sets itself"),
        ({"stream_options": {}}, "'stream_options', which the labeller sets itself"),
        ({"n": 2}, "parameters.n: found 2, but only one answer to a question is read"),
        ({"best_of": 3}, "parameters.best_of: found 3"),
        ({"api_key": "x"}, "set OPENAI_API_KEY in the environment"),
        ({"extra_headers": {"Authorization": "x"}}, "set OPENAI_API_KEY in the environment"),
        ({"extra": [{"password": "x"}]}, "set OPENAI_API_KEY in the environment"),
        ({"user": "sk-1"}, "set OPENAI_API_KEY in the environment"),
        ({"user": "Bearer x"}, "set OPENAI_API_KEY in the environment"),
    ],
)
def test_parameters_that_are_refused(parameters, words):
    with pytest.raises(MisodiceError) as caught:
        LLMLabeller(parameters=parameters)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameters_that_are_taken():
    check_parameters({})
    check_parameters({"temperature": 0, "max_tokens": 5, "min_tokens": 1, "stop_token_ids": [1], "n": 1, "top_p": None})
    check_parameters({"prompt_cache_key": "a", "skip_special_tokens": True, "logit_bias": {"1": -1.5}, "max_tokens": 1})
    check_parameters(
        {"chat_template_kwargs": {"enable_thinking": False}, "stop": ["a", "b"], "reasoning_effort": "low"}
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("price", value) for value in ((NAN, 2), (-1, 2), (1, INF), (1,), (1, 2, 3), 3, ("1", 2), (True, 2))),
        *(("budget", value) for value in (-1, NAN, INF, "3", True)),
        *(("concurrency", value) for value in (0, -1, 1001, 1_000_000, 2.5, NAN, True)),
        *(("tries", value) for value in (0, 1001, NAN)),
        *(("timeout", value) for value in (0, -1, NAN, INF, 1e9)),
        *((name, value) for name in ("backoff", "poll") for value in (0, -1, NAN, INF)),
        *(("prompt_tokens", value) for value in (0, -5, NAN)),
    ],
)
def test_numbers_that_are_refused(name, value):
    options = {"price": (1, 1), name: value}
    with pytest.raises(MisodiceError, match=rf"^labels\.labeller\.{name}: found .*, expected "):
        LLMLabeller(**options)


def test_numbers_that_are_taken():
    LLMLabeller(price=(0, 0), budget=0, concurrency=1000, tries=1, timeout=0.1, backoff=0.001, poll=0.01)
    LLMLabeller(price=[2.5, 10], budget=None)
