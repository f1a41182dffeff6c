"""The version, which results and archives name."""

__version__ = "0.2.0"
