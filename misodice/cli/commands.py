"""The commands beside those of Experiment."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jsonargparse import auto_cli

from misodice.cli.files import collect_command, convert_command, info_command, mix_command
from misodice.cli.parser import Parser
from misodice.cli.runs import benchmark_command, configs_command, export_command, report_command
from misodice.doctor import doctor_command

COMMANDS: dict[str, Callable[..., int | None]] = {
    "collect": collect_command,
    "convert": convert_command,
    "mix": mix_command,
    "info": info_command,
    "benchmark": benchmark_command,
    "report": report_command,
    "export": export_command,
    "configs": configs_command,
    "doctor": doctor_command,
}


def run_command(arguments: Sequence[str]) -> int:
    """Run one of `COMMANDS` on its arguments; its exit status."""
    command = COMMANDS[arguments[0]]
    given = list(arguments[1:])
    prog = f"misodice {arguments[0]}"
    return auto_cli(command, args=given, prog=prog, as_positional=False, parser_class=Parser) or 0
