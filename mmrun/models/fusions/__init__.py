"""Fusions: Features of any subset of the modalities -> one vector. One file per family."""
