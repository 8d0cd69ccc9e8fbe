"""misodice: teach a team of agents from demonstrations of unknown, mixed quality (MisoDICE, arXiv 2505.18595).

The public names stand in `__init__.pyi`. They are imported when they are used, since torch takes seconds.

Example:
    >>> from misodice import SMAX, Experiment, Value
    >>> result = Experiment(env=SMAX("zerg_5_vs_5"), value=Value(alpha=0.1), run_dir="runs/mine").fit()
"""

import lazy_loader

__version__ = "0.2.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
