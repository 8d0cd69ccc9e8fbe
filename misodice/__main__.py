"""`python -m misodice`."""

from misodice.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
