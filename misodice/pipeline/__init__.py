"""Trains the stages in order."""
