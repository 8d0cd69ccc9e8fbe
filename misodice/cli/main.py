"""The command line: each command goes to its parser, and a user's mistake ends in one message."""

from __future__ import annotations

import difflib
import errno
import os
import sys
from collections.abc import Sequence

from misodice.callbacks.stopping import sigterm_as_ctrl_c
from misodice.cli.commands import COMMANDS, run_command
from misodice.cli.parser import arranged
from misodice.cli.training import TrainingCLI
from misodice.errors import MisodiceError
from misodice.runs.files import NO_ROOM, cannot_write

NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What a path says that a user may not open, or that is another thing than was meant."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake ends in one message and exit status 2.

    Args:
        args: command and options; None takes those of the process.
    """
    arguments = list(sys.argv[1:] if args is None else args)
    try:
        here = _here()
        if here not in sys.path:
            sys.path.append(here)  # so that a class path finds a user's module beside which the command was given
        arguments = arranged(arguments)
        # LightningCLI warns where both are given; in tests sys.argv is pytest's; DDP's other processes start from it.
        sys.argv = [*sys.argv[:1], *(arguments if args is None else [])]
        with sigterm_as_ctrl_c():
            if arguments and arguments[0] in COMMANDS:
                return run_command(arguments)
            check_command(arguments)
            TrainingCLI(arguments, from_process=args is None)
    except ValueError as error:
        mistake = _mistake(error)
        if mistake is None:
            raise
        print(f"misodice: {mistake}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.errno in NO_ROOM:
            told = cannot_write(error.filename or "a file of the run", error)
        elif error.errno in NO_ACCESS and error.filename:
            told = f"{error.filename}: {error.strerror}; check the path, and what you may do there"
        else:
            raise
        print(f"misodice: {told}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        go_on = {"fit": "; go on with --ckpt_path last", "label": "; the same command goes on"}
        print(f"misodice: interrupted{go_on.get(arguments[0], '')}", file=sys.stderr)
        return 130
    return 0


def check_command(arguments: Sequence[str]) -> None:
    """Raise a MisodiceError where the first word is no command."""
    commands = [*TrainingCLI.subcommands(), *COMMANDS]
    word = arguments[0] if arguments else ""
    if word.startswith("-") or word in commands:
        return
    near = difflib.get_close_matches(word, commands, 1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise MisodiceError(f"{word!r} is no command; {hint}the commands are {', '.join(commands)}")


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError as error:
        raise MisodiceError("the current folder does not exist any more; change to another one") from error


def _mistake(error: BaseException) -> MisodiceError | None:
    """The MisodiceError in an error: what a part's constructor raises comes inside errors of jsonargparse's."""
    inner: BaseException | None = error
    while inner is not None and not isinstance(inner, MisodiceError):
        inner = inner.__cause__
    return inner
