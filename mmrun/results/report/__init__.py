"""A report: what a set of runs answers, first in words, then in tables and plots; as a page or for a paper."""
