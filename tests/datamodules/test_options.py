"""The `data` block."""

import pytest

from misodice.datamodules.options import Data
from misodice.errors import MisodiceError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "data.batch_size: found 0, expected a whole number from 1"),
        ({"minibatches": 0}, "data.minibatches: found 0, expected a whole number from 1 to 1000000000, or null"),
        ({"held_out": 1.0}, "data.held_out: found 1.0, expected a share, at least 0 and less than 1"),
        ({"held_out": -0.1}, "data.held_out: found -0.1"),
        ({"held_out": float("nan")}, "data.held_out: found nan"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(MisodiceError, match=words):
        Data(**options)
