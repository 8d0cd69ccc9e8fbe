"""One command of misodice, of whatever version PYTHONPATH names, that plays no game: python perf/side.py fit …

Version 0.1 always made the environment and played at the end. Data of random numbers have no environment, so both are
taken out of it here; later versions play nothing where the file names no engine.
"""

from __future__ import annotations

import sys
from pathlib import Path


def play_nothing() -> None:
    """Take the environment and the last rollouts out of version 0.1."""
    from misodice import cli

    def same_env(path: object, episodes: object, env: object, console: object) -> object:
        return env

    cli.check_against_env = same_env  # type: ignore[attr-defined]
    cli.MisodiceCLI._summarise = lambda self, pipeline: None  # type: ignore[attr-defined]


if __name__ == "__main__":
    import misodice
    from misodice.__main__ import main

    if not (Path(str(misodice.__file__)).parent / "experiment.py").is_file():
        play_nothing()

    sys.argv[0] = "misodice"
    raise SystemExit(main())
