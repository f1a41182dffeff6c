"""Data: a source returns a Table, `store` decodes each value once into columns, and the loader gathers batches."""
