"""SMAX, the game-free SMAC-like simulator of jaxmarl."""
