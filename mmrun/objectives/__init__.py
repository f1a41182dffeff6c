"""Objectives, which turn a batch into a loss: one module each."""
