"""Smaller and faster runs: a finished run, compressed by some steps, becomes a finished run of its own."""
