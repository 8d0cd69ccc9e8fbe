"""The `data` block."""

import pytest

from misodice.datamodules.options import Data
from misodice.errors import MisodiceError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "data.batch_size is 0, expected at least 1"),
        ({"held_out": 1.0}, "data.held_out is 1.0, expected at least 0 and less than 1"),
        ({"held_out": -0.1}, "data.held_out is -0.1"),
        ({"held_out": float("nan")}, "data.held_out is nan"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    with pytest.raises(MisodiceError, match=words):
        Data(**options)
