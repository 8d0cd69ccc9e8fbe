"""The parser of `misodice fit`, made once: what a command line would build, without training."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from misodice.cli.training import TrainingCLI
from misodice.errors import MisodiceError
from misodice.experiment import Experiment


class Ready(Exception):  # noqa: N818 - it stops LightningCLI before it parses, and is no fault
    """The command line's parser is made."""


class Lines(TrainingCLI):
    """Builds an Experiment of each command line that it is given."""

    def __init__(self) -> None:
        with contextlib.suppress(Ready):
            super().__init__(["fit"], from_process=False)

    def parse_arguments(self, parser: Any, args: Any) -> None:
        raise Ready

    def build(self, options: Sequence[str]) -> Experiment:
        """The Experiment of `misodice fit` with these options."""
        self.config = self.parser.parse_args(["fit", *options])
        self.subcommand = "fit"
        with contextlib.redirect_stderr(io.StringIO()):
            self._set_seed()
        self.instantiate_classes()
        return self.trainer  # type: ignore[return-value]

    def refusal(self, options: Sequence[str]) -> str | None:
        """What the user is told; None where the Experiment is built. A traceback is what the caller gets."""
        told = io.StringIO()
        try:
            with contextlib.redirect_stderr(told):
                self.build(options)
        except SystemExit:
            message, hint = told.getvalue().splitlines()
            assert message.startswith("error: ")
            assert hint == "misodice fit --help lists the options"
            return message
        except ValueError as error:
            inner: BaseException | None = error
            while inner is not None and not isinstance(inner, MisodiceError):
                inner = inner.__cause__
            if inner is None:
                raise
            message = str(inner)
            assert len(message.splitlines()) == 1
            assert "lower --" not in message, "that is for a loss, not for an impossible value"
            return message
        return None


ODD = [
    *(-1, 0, 1, 2, 10**9, 2**31, 2**33, 10**30, -(10**30), 0.0, -0.0, 0.5, 1.0, 1.5, -2.5, 1e-300, 1e30, 1e308),
    *(float("nan"), float("inf"), float("-inf"), True, False, None, "", " ", "foo", "1", "-1", "a.b", "/no/such"),
    *([], [0], [-1], [1], ["x"], [None], {}, {"a": 1}, {"class_path": "foo"}),
]
"""Values at the limits of options, beyond them, and of other kinds."""
ANYTHING = st.one_of(
    st.sampled_from(ODD),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(-3, 300), max_size=3),
)
