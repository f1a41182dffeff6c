"""A report as one self-contained HTML page: no network access, and no script is needed to read it."""

import os
import re
from itertools import count
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from mmrun.results.report.content import Report
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import slugify
from mmrun.results.report.svg import render_inline
from mmrun.version import __version__

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
UNITS |= {"min": 60, "h": 3600, "d": 86_400}
NUMBER = re.compile(r"^[<+]?(-?\d[\d.]*(?:e[+-]?\d+)?) ?([A-Za-z]*)(?: (\d+) (s|min))?")


def render_html(report: Report, folder: Path = Path()) -> str:
    """Render a report as an HTML page.

    Args:
        report: to be rendered.
        folder: of the page; links to files are relative to it.

    Returns:
        The content of the file; the same runs give the same bytes.
    """
    template = build_environment().get_template("page.html")
    return template.render(report=report, link_file=lambda file: quote(os.path.relpath(file, folder)))


def build_environment(*folders: Path) -> Environment:
    """Build the environment of a page's template, with the parts that all pages share: style, sections and script.

    Args:
        folders: that are searched for templates before that of the report.
    """
    plot_numbers = count()

    def render_plot(plot: Plot) -> Markup:
        return Markup(render_inline(plot, f"plot{next(plot_numbers)}"))

    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        render_plot=render_plot, break_names=break_names, sort_value=sort_value, slugify=slugify, version=__version__
    )
    return environment


def break_names(text: str) -> Markup:
    """Let names break after their underscores, where a table would be wider than the paper.

    Returns:
        The text with its markup escaped.
    """
    return escape(text).replace("_", Markup("_<wbr>"))


def sort_value(cell: str) -> str:
    """Return the number by which a table cell is sorted.

    Args:
        cell: as it is written in the table.

    Returns:
        "14400" for "14.4k", "200" for "3 min 20 s"; "" for a word.
    """
    match = NUMBER.match(cell)
    if match is None:
        return ""
    value, unit, second_value, second_unit = match.groups()
    amount = float(value) * UNITS.get(unit, 1)
    if second_value is not None:
        amount += float(second_value) * UNITS.get(second_unit, 1)
    return f"{amount:.12g}"
