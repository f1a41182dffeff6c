"""A second loop: several runs of one architecture train together, each step a single computation."""
