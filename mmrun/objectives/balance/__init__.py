"""Keeping modalities in balance: objectives that wrap a stage's own, so that no encoder is left behind by another.

In validation each gives what the wrapped objective gives: figures stay comparable with those of a run without it.
"""
