"""Data sources: one file each, with a function that returns a `Table`."""
