"""A section of a report, and the names of its anchor and of its plots' files."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

from mmrun.results.report.plots import Plot
from mmrun.results.table import Table

MAX_FILE_NAME = 120


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
    return make_file_name(f"{slugify(section.title)}-{plot.name}")


def make_file_name(name: str) -> str:
    """Turn a name into that of a file, without a suffix.

    Returns:
        At most MAX_FILE_NAME letters, digits, dots, hyphens and underscores.
    """
    return re.sub(r"[^A-Za-z0-9.-]+", "_", name)[:MAX_FILE_NAME]


def name_files(plots: Iterable[Plot]) -> list[str]:
    """Make the names of the files of some plots, without suffixes; no two are the same.

    Args:
        plots: to be saved in one folder.
    """
    names: dict[str, None] = {}
    for plot in plots:
        stem = make_file_name(plot.name)
        numbered = (f"{stem}-{number}" for number in count(2))
        name = stem if stem not in names else next(name for name in numbered if name not in names)
        names[name] = None
    return list(names)
