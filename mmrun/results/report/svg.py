"""Plots as inline SVG, which takes its colours from the page, and as SVG, PDF and PNG files."""

import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from mmrun.results.formatting import escape_controls
from mmrun.results.report.plots import Plot
from mmrun.results.report.style import PlotKwargs

TEXT_COLOR, GRID_COLOR = "#010203", "#040506"  # placeholders: the page's light or dark theme replaces them

STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "legend.fontsize": 9,
    "legend.framealpha": 0.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "svg.hashsalt": "mmrun",  # the same file from the same runs
}
ON_PAGE = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), TEXT_COLOR),
    "grid.color": GRID_COLOR,
    "svg.fonttype": "none",  # text stays text: it can be searched, and read aloud
}
SAVE_ARGUMENTS: dict[str, PlotKwargs] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": 200, "facecolor": "white"},
}
ON_PAPER = {"grid.color": "#dddddd", "svg.fonttype": "path", "pdf.fonttype": 42}


def render_inline(plot: Plot, id: str) -> str:
    """Render a plot as an SVG element for a page.

    Args:
        plot: to be drawn.
        id: unique on the page; it becomes the prefix of all ids inside the element.

    Returns:
        The element: accessible (it is titled with the plot's text alternative), and without an XML header.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, **ON_PAGE}):
        figure = _draw(plot)
        FigureCanvasSVG(figure).print_svg(buffer, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{id}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{id}-", svg)
    svg = svg.replace(TEXT_COLOR, "currentColor").replace(GRID_COLOR, "var(--grid)")
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        rf'<svg viewBox="\1" role="img" aria-labelledby="{id}-alt">',
        svg,
        count=1,
    )
    title = f'<title id="{id}-alt">{_escape(plot.alt)}</title>'
    return svg.replace(">", f">{title}", 1)


def save_plot(plot: Plot, file: Path, formats: Sequence[str] = ("svg", "pdf")) -> list[Path]:
    """Save a plot, the same bytes for the same data.

    Args:
        plot: to be drawn.
        file: path without a suffix; missing folders are created.
        formats: svg, pdf (both transparent) or png (on white).

    Returns:
        The files, one for each format.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    files = []
    with matplotlib.rc_context({**STYLE, **ON_PAPER}):
        figure = _draw(plot)
        for name in formats:
            figure.patch.set_alpha(1.0 if name == "png" else 0.0)
            files.append(file.with_name(f"{file.name}.{name}"))
            figure.savefig(files[-1], **SAVE_ARGUMENTS[name])
    return files


def _draw(plot: Plot) -> Figure:
    warnings.filterwarnings("ignore", "Glyph", UserWarning)  # it prints the character of a name that no font has
    figure = Figure((plot.width, plot.height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    plot.draw(axes)
    for text in figure.findobj(Text):
        text.set_text(escape_controls(text.get_text()))
    return figure


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
