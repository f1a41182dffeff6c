"""Fusions: Features of any number of modalities, any subset present per row, -> one vector. A file a family."""
