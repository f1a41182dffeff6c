"""A part of a report, and the names that it goes by."""

import re
from dataclasses import dataclass, field

from mmrun.results.report.plots import Plot
from mmrun.results.tables import Table


@dataclass
class Section:
    """A part of a report; one that is `closed` is unfolded by who wants it."""

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    closed: bool = False
    listed: bool = True  # among the links at the top


def slug(title: str) -> str:
    """Return a name for the address of a section."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def stem(section: Section, plot: Plot) -> str:
    """Return the name of a plot's files, less their suffix."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{slug(section.title)}-{plot.name}")
