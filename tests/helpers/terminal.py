"""A terminal that remembers what was written."""

import io
import re

from rich.console import Console


class Terminal(io.StringIO):
    """Says that it is one."""

    def isatty(self) -> bool:
        return True

    @property
    def screens(self) -> list[list[str]]:
        """What a bar showed each time it was drawn, without colours, line by line."""
        drawn = re.split(r"\x1b\[2K", self.getvalue())
        plain = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", each).replace("\r", "") for each in drawn]
        return [each.rstrip("\n").split("\n") for each in plain if each.strip()]


def console_of(terminal: Terminal, width: int = 80) -> Console:
    return Console(file=terminal, force_terminal=True, width=width, soft_wrap=True)
