"""Named benchmarks, read from their official layouts on disk."""
