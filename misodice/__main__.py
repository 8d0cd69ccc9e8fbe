"""`python -m misodice`, and the command `misodice`."""

import sys

from jsonargparse import auto_cli


def main() -> int:
    """The command line; `doctor` without importing what it may find broken."""
    if sys.argv[1:2] == ["doctor"]:
        from misodice.doctor import doctor_command

        return int(auto_cli(doctor_command, args=sys.argv[2:], prog="misodice doctor", as_positional=False))
    from misodice.cli import main as cli

    return cli()


if __name__ == "__main__":
    raise SystemExit(main())
