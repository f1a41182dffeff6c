"""Balance: objectives that wrap a stage's own, so that no modality's encoder is left behind by another.

In validation each returns the losses of the wrapped objective, so that they are comparable with a run without it.
"""
