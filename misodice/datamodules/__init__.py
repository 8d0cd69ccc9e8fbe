"""Batches of a table of transitions, one complete datamodule for each kind of training."""
