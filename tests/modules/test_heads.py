"""Action heads against torch's distributions."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.distributions import Categorical, Normal, TanhTransform, TransformedDistribution

from misodice.errors import MisodiceError
from misodice.modules import ActionHead, CategoricalHead, GaussianHead


@settings(max_examples=30)
@given(seed=st.integers(0, 999), masked=st.booleans())
def test_a_softmax_over_what_is_available(seed, masked):
    draw = torch.Generator().manual_seed(seed)
    output = 3 * torch.randn(6, 2, 5, generator=draw)
    available = torch.rand(6, 2, 5, generator=draw) < 0.5
    available[..., seed % 5] = True
    head = CategoricalHead(5)
    given_available = available if masked else None
    expected = Categorical(logits=output.where(available, -torch.inf) if masked else output)
    actions = expected.sample()
    assert torch.allclose(head.log_prob(output, actions, given_available), expected.log_prob(actions), atol=1e-5)
    (probabilities,) = head.parameters_of(output, given_available)
    assert torch.allclose(probabilities, expected.probs, atol=1e-6)
    assert torch.equal(head.greedy(output, given_available), expected.probs.argmax(dim=-1))
    if masked:
        assert not probabilities[~available].any()
        assert available.gather(-1, head.greedy(output, available).unsqueeze(-1)).all()


@pytest.mark.parametrize("kind", ["normal", "tanh_normal"])
def test_normals_and_their_tanh(kind):
    torch.manual_seed(0)
    head = GaussianHead(3, kind)
    output = torch.randn(6, 2, 6)
    mean, deviation = head.parameters_of(output, None)
    assert torch.equal(mean, output[..., :3])
    assert torch.allclose(deviation, output[..., 3:].exp().clamp(max=math.exp(2.0)))
    expected = Normal(mean, deviation)
    if kind == "tanh_normal":
        expected = TransformedDistribution(expected, [TanhTransform()])
    actions = torch.rand(6, 2, 3) * 1.8 - 0.9
    log_prob = head.log_prob(output, actions, None)
    assert log_prob.shape == (6, 2)
    assert torch.allclose(log_prob, expected.log_prob(actions).sum(dim=-1), atol=1e-4)
    assert torch.allclose(head.greedy(output, None), torch.tanh(mean) if kind == "tanh_normal" else mean.clamp(-1, 1))


def test_deviations_have_bounds():
    head = GaussianHead(1, min_std=0.05)
    _, deviation = head.parameters_of(torch.tensor([[[0.0, -50.0]], [[0.0, 50.0]]]), None)
    assert deviation.flatten().tolist() == pytest.approx([0.05, math.exp(2.0)])
    with pytest.raises(MisodiceError, match=r"policy\.head\.min_std: found 0, expected a number greater than 0"):
        GaussianHead(1, min_std=0)


@pytest.mark.parametrize("head", [CategoricalHead, GaussianHead, partial(GaussianHead, kind="tanh_normal")])
def test_parameters_have_names_and_outputs_their_number(head):
    made = head(4)
    assert len(made.parameters_of(torch.randn(2, 3, made.outputs), None)) == len(made.parameters_names)


def test_a_users_head_says_what_it_lacks():
    class Empty(ActionHead):
        pass

    head, output = Empty(4), torch.zeros(2, 3, 4)
    assert head.outputs == 4
    assert head.parameters_of(output, None) == ()
    with pytest.raises(MisodiceError, match="Empty has no log_prob"):
        head.log_prob(output, output, None)
    with pytest.raises(MisodiceError, match="Empty has no greedy"):
        head.greedy(output, None)
