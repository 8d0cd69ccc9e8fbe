"""Samples per second of each stage, seconds of a whole fit, rollouts, start-up: `make bench`.

    python perf/throughput.py [--only training] [--data Ant] [--precision bf16-mixed] [--threads 1]
                                    [--device cuda] [--compile reduce-overhead]
    python perf/throughput.py --against d3014f3 [--only fit]

Without --against the stages stand beside bare loops that do the same arithmetic. With it the stages and a whole fit of
another commit are measured in turn with this checkout's.
"""

from __future__ import annotations

import argparse

from against import MOST, against
from rollouts import rollouts
from several_seeds import seeds
from startup import startup
from synthetic import SIZES
from training import training
from whole_fit import whole_fit

PARTS = ("startup", "training", "fit", "rollouts", "seeds")


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", choices=PARTS, nargs="+", help="default: all; with --against: training and fit")
    made.add_argument(
        "--against",
        metavar="COMMIT",
        help="a commit (d3014f3 is version 0.1) or a checkout's folder, measured round by round beside this one; its "
        f"training part has {MOST:,} transitions at most",
    )
    made.add_argument(
        "--here",
        default="",
        metavar="OPTIONS",
        help='of `misodice fit`, in one argument, for this checkout alone: "--trainer.precision bf16-mixed"',
    )
    made.add_argument("--data", choices=SIZES, nargs="+", default=list(SIZES), help="of the training part")
    made.add_argument("--transitions", type=int, help="at most, of each data set of the training part")
    made.add_argument("--fit-data", metavar="FILE", help="of the fit part, of zerg_5_vs_5; default: one is made")
    made.add_argument("--fit-options", default="", metavar="OPTIONS", help="of the fit part, in one argument")
    made.add_argument("--rollouts", action="store_true", help="let the fit part roll the policy out, as the demo does")
    made.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    made.add_argument("--threads", type=int, help="default: 1, and in the fit part what misodice chooses")
    made.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="of the training, fit and seeds parts")
    made.add_argument("--compile", choices=["default", "reduce-overhead"], help="of stages beside the bare loop")
    made.add_argument("--rounds", type=int, help="default: 3, and 1 in the fit part")
    made.add_argument("--steps", type=int, default=200)
    return made


def main() -> None:
    """Print the tables that are asked for."""
    options = parser().parse_args()
    parts = options.only or (PARTS if options.against is None else ("training", "fit"))
    rounds = options.rounds or 3
    options.transitions = options.transitions or (max(size.transitions for size in SIZES.values()))
    if "startup" in parts:
        startup()
    if "training" in parts and options.against is None:
        training(options, rounds)
    elif "training" in parts:
        options.transitions = min(options.transitions, MOST)
        against(options, rounds)
    if "fit" in parts:
        whole_fit(options, options.rounds or 1)
    if "rollouts" in parts:
        rollouts()
    if "seeds" in parts:
        seeds(options, rounds)


if __name__ == "__main__":
    main()
