"""A report on a set of runs: answers in sentences, then tables and plots; as a page or for a paper."""
