"""Alignment in time: what of a long recording belongs to each row."""
