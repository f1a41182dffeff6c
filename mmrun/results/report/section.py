"""A section of a report, and the names of its anchor and of its plots' files."""

import re
from dataclasses import dataclass, field

from mmrun.results.report.plots import Plot
from mmrun.results.table import Table


@dataclass
class Section:
    """A section of a report: a paragraph, then tables, then plots.

    Args:
        title: its heading.
        text: the paragraph; "" for none.
        tables: in order.
        plots: in order.
        closed: whether a page shows it folded.
        listed: whether it is among the links at the top of a page.
    """

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    closed: bool = False
    listed: bool = True


def slugify(title: str) -> str:
    """Turn a section's title into the name of its anchor.

    Args:
        title: any text.

    Returns:
        Lower-case letters, digits and single hyphens.
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def make_file_stem(section: Section, plot: Plot) -> str:
    """Make the name of a plot's files.

    Args:
        section: that the plot belongs to.
        plot: to be saved.

    Returns:
        The file name without its suffix.
    """
    return re.sub(r"[^A-Za-z0-9.-]+", "_", f"{slugify(section.title)}-{plot.name}")
