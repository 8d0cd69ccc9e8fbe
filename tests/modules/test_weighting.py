"""What becomes of the weights before the policy learns from them."""

import pytest
import torch

from misodice.errors import MisodiceError
from misodice.modules import ByEpisode, TopP, dice
from misodice.runs.parts import config_of

WEIGHT = torch.tensor([2.0, 0.5, 0.5, 1.0, 1.0])
LENGTH = torch.tensor([3, 2])


def test_by_episode():
    found = ByEpisode()(WEIGHT, LENGTH, None)
    assert torch.equal(found, dice.weigh_by_episode(WEIGHT, LENGTH))
    assert found.mean().item() == pytest.approx(1.0)
    assert len(set(found[:3].tolist())) == 1
    assert not ByEpisode.needs_experts


def test_top_p():
    assert torch.equal(TopP(0.4)(WEIGHT, LENGTH, None), dice.top_p_weights(WEIGHT, 0.4))
    assert TopP(0.4)(WEIGHT, LENGTH, None).tolist() == [5.0, 0.0, 0.0, 0.0, 0.0]
    assert TopP(1.0)(WEIGHT, LENGTH, None) is WEIGHT
    assert config_of(TopP(0.4)) == {"class_path": "misodice.modules.weighting.TopP", "init_args": {"top_p": 0.4}}


@pytest.mark.parametrize("top_p", [0.0, -1.0, 1.01, float("nan")])
def test_what_is_no_share_is_refused(top_p):
    with pytest.raises(MisodiceError, match=r"TopP\.top_p: found .*, expected a share, more than 0 and at most 1"):
        TopP(top_p)
