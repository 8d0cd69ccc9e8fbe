"""The discriminator's two ways to mix; what it learns is in tests/exact."""

from functools import partial

import pytest
import torch

from misodice.datamodules.batches import Step
from misodice.errors import MisodiceError
from misodice.modules import AgentMLP, Discriminator, HyperMixer, IndependentMixer, VDNMixer
from tests.helpers.small import table_of

TABLE = table_of([4, 3])
SMALL = partial(AgentMLP, hidden=(8,))


def built(**options) -> Discriminator:
    torch.manual_seed(0)
    stage = Discriminator(network=SMALL, **options)
    stage._build(TABLE.spec)
    return stage


def local_logits(stage: Discriminator, step: Step) -> torch.Tensor:
    actions = torch.nn.functional.one_hot(step.actions, 5).float()
    return stage.local(torch.cat([stage.standardise_obs(step.obs), actions], dim=-1)).squeeze(-1)


def test_logits_are_mixed():
    step = TABLE.step(torch.arange(7))
    stage = built(mixer=VDNMixer)
    assert torch.allclose(stage(step), local_logits(stage, step).sum(dim=-1))
    independent = built(mixer=IndependentMixer)
    assert torch.equal(independent(step), local_logits(independent, step))


def test_probabilities_are_mixed_by_weights_of_the_state():
    step = TABLE.step(torch.arange(7))
    stage = built(mixing="probability")
    eta = torch.softmax(stage.mixer(stage.standardise_state(step.state)), dim=-1)
    expected = (eta * torch.sigmoid(local_logits(stage, step))).sum(dim=-1)
    assert torch.allclose(torch.sigmoid(stage(step)), expected, atol=1e-6)


@pytest.mark.parametrize("mixer", [VDNMixer, partial(VDNMixer)])
def test_probabilities_have_no_mixer_of_values(mixer):
    with pytest.raises(MisodiceError, match="mixer is VDNMixer and mixing is probability"):
        Discriminator(mixer=mixer, mixing="probability")
    Discriminator(mixer=HyperMixer, mixing="probability")
