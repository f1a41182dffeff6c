"""Data: sources give a Table, `prepare` decodes each file once into a store, the loader gathers batches from it."""
