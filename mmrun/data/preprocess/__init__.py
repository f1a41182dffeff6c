"""Preprocessors: one file per kind, each with one class that implements `types.Preprocessor` and can be restored."""
