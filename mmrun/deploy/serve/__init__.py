"""Serves a finished run over HTTP: predictions for programs, and a page for people."""
