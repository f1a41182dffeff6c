"""A data set's page as one self-contained HTML file: no network access, and no script is needed to read it."""

from base64 import b64encode
from pathlib import Path

from mmrun.data.checks.samples import Lines, Media, Problem
from mmrun.data.table import SPLITS
from mmrun.results.dataset_page.content import Page
from mmrun.results.report.page import build_environment
from mmrun.results.report.style import PALETTE

LINE_WIDTH, LINE_HEIGHT = 160, 60  # units of a series' picture


def render_html(page: Page) -> str:
    """Render a page. Whatever comes from the data is escaped, or is a picture or sound that was encoded anew."""
    environment = build_environment(Path(__file__).parent)
    environment.tests.update(media=_is_media, lines=_is_lines, problem=_is_problem)
    environment.filters.update(data_uri=_encode, points=_draw_points)
    return environment.get_template("dataset.html").render(page=page, palette=PALETTE, splits=SPLITS)


def _is_media(value: object) -> bool:
    return isinstance(value, Media)


def _is_lines(value: object) -> bool:
    return isinstance(value, Lines)


def _is_problem(value: object) -> bool:
    return isinstance(value, Problem)


def _encode(media: Media) -> str:
    return f"data:{media.kind};base64,{b64encode(media.content).decode()}"


def _draw_points(lines: Lines) -> list[str]:
    """Return the points of an SVG polyline for each channel, on one scale."""
    numbers = [number for channel in lines.channels for number in channel]
    low, high = min(numbers), max(numbers)
    span = high - low or 1.0
    polylines = []
    for channel in lines.channels:
        step = LINE_WIDTH / max(1, len(channel) - 1)
        points = []
        for place, number in enumerate(channel):
            points.append(f"{place * step:.1f},{LINE_HEIGHT - 1 - (number - low) / span * (LINE_HEIGHT - 2):.1f}")
        polylines.append(" ".join(points))
    return polylines
