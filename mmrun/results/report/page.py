"""A report as one self-contained page: no network, no script needed, none but a little one of its own."""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import mmrun
from mmrun.results.report.content import Report
from mmrun.results.report.plots import Plot
from mmrun.results.report.section import slug
from mmrun.results.report.svg import inline

UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
UNITS |= {"min": 60, "h": 3600, "d": 86_400}
NUMBER = re.compile(r"^[<+]?(-?\d[\d.]*(?:e[+-]?\d+)?) ?([A-Za-z]*)(?: (\d+) (s|min))?")


def html(report: Report) -> str:
    """Write the page."""
    ids = iter(range(1_000_000))

    def picture(plot: Plot) -> Markup:
        return Markup(inline(plot, f"plot{next(ids)}"))

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(report=report, picture=picture, order=order, slug=slug, version=mmrun.__version__)


def order(cell: str) -> str:
    """Return the number by which a cell is sorted: 14400 for 14.4k, 200 for 3 min 20 s; nothing for a word."""
    found = NUMBER.match(cell)
    if found is None:
        return ""
    value, unit, rest, rest_unit = found.groups()
    amount = float(value) * UNITS.get(unit, 1)
    if rest is not None:
        amount += float(rest) * UNITS.get(rest_unit, 1)
    return f"{amount:.12g}"
