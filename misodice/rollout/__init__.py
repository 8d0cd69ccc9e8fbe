"""Actors, the loop in which they play, and what is made of the episodes."""
