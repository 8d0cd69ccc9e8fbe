"""`python -m misodice`, and the command `misodice`."""

import os
import sys

from jsonargparse import auto_cli

from misodice.runs.console import keep_printing
from misodice.runs.threads import wait_briefly

HELP = """usage: misodice COMMAND [options]        (misodice COMMAND --help lists the options)

Train a team of agents from demonstrations of unknown, mixed quality (MisoDICE):
  fit         label, rank, train all stages, roll the policy out: misodice fit --config configs/smacv2_zerg.yaml
  label       Phase 1 alone: ask for preferences, learn the reward, rank the episodes
  test        roll a trained policy out, or film it
  validate    the same as test

Episodes files:
  collect     roll behaviour policies out into one
  convert     make one of O-MAPL's, ComaDICE's, OMIGA's or OG-MARL's data
  mix         combine several into one shuffled D_U
  info        describe one

Many runs, and what is left of one:
  benchmark   run a grid of tasks, methods and seeds
  report      tables and figures of finished runs
  export      one agent's policy as ONNX, TorchScript or pt2
  configs     copy the shipped config files into a folder
  doctor      what is installed and usable on this machine
"""


def main() -> int:
    """The command line; its help at once, and `doctor` without importing what it may find broken."""
    keep_printing()
    wait_briefly()
    try:
        os.getcwd()
    except FileNotFoundError:
        print("misodice: the current folder does not exist any more; change to another one", file=sys.stderr)
        return 2
    if sys.argv[1:] in ([], ["-h"], ["--help"]):
        print(HELP, end="")
        return 0 if sys.argv[1:] else 2
    if sys.argv[1:2] == ["doctor"]:
        from misodice.doctor import doctor_command

        return int(auto_cli(doctor_command, args=sys.argv[2:], prog="misodice doctor", as_positional=False))
    from misodice.cli.main import main as cli

    return cli()


if __name__ == "__main__":
    raise SystemExit(main())
