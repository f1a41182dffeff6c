"""A data set on one page: rows, targets and modalities by split, and samples to look at and listen to."""
