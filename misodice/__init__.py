"""misodice: teach a team of agents from demonstrations nobody has sorted (MisoDICE, arXiv 2505.18595)."""

__version__ = "0.1.0"
