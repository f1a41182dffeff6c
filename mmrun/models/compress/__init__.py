"""Smaller models from trained ones: each module is one method, and changes a model in place."""
