"""What a stage was not prepared for is refused."""

import pytest

from misodice.datamodules.inputs import Inputs
from misodice.errors import MisodiceError
from tests.helpers.small import table_of


def test_what_a_stage_did_not_ask_for_is_not_there():
    inputs = Inputs(table_of([2]), {}, None, None, 4, 0)
    with pytest.raises(MisodiceError, match="needs_experts is false; let it return true"):
        _ = inputs.known_experts
    with pytest.raises(MisodiceError, match="labelled pairs were asked for by a stage that is no RewardStage"):
        _ = inputs.known_pairs
