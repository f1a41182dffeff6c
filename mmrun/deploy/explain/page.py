"""Explanations as one self-contained HTML page: no network access, no script, and a bounded size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mmrun.deploy.explain.explainer import Explainer
from mmrun.deploy.explain.file import ExplainedRow, FileExplanation
from mmrun.deploy.explain.panels import Bar, Panel, draw_bars, draw_panel, shorten
from mmrun.results.formatting import format_number, pluralize
from mmrun.version import __version__

MAX_OUTPUTS = 5  # whose probabilities are shown


@dataclass(frozen=True)
class Card:
    """One row as it is drawn.

    Attributes:
        title: id of the row.
        verdict: error, right, or "" without a target.
        prediction: as text.
        truth: as text; None without a target.
        explained: name of the explained output.
        from_score: score without any modality.
        to_score: score with all of them.
        outputs: probabilities of the classes or labels.
        contributions: of the modalities.
        absent: modalities that the row lacks.
        panels: saliency.
    """

    title: str
    verdict: str
    prediction: str
    truth: str | None
    explained: str
    from_score: str
    to_score: str
    outputs: list[Bar]
    contributions: list[Bar]
    absent: list[str]
    panels: list[Panel]


def render_page(explanation: FileExplanation, explainer: Explainer) -> str:
    """Render explanations as an HTML page.

    Args:
        explanation: whose rows are read.
        explainer: that computes them; its run says how modalities are read.

    Returns:
        The content of the file.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    cards = [_draw_row(row, explanation, explainer) for row in explanation.rows]
    return environment.get_template("page.html").render(
        explanation=explanation,
        summary=_draw_means(explanation.mean_contributions),
        metric=_describe_metric(explanation),
        cards=cards,
        shorten=shorten,
        version=__version__,
    )


def _describe_metric(explanation: FileExplanation) -> str:
    if explanation.metric is None:
        return ""
    name, value, num_rows = explanation.metric
    return f"{name.replace('_', ' ')} {value:.4g} on {pluralize(num_rows, 'row')} with a target"


def _draw_row(row: ExplainedRow, explanation: FileExplanation, explainer: Explainer) -> Card:
    verdicts = {None: "", True: "error", False: "right"}
    return Card(
        title=shorten(row.id),
        verdict=verdicts[row.is_error],
        prediction=shorten(row.prediction or "none"),
        truth=None if row.truth is None else shorten(row.truth or "none"),
        explained=shorten(explanation.outputs[row.explained]),
        from_score=format_number(row.empty_score),
        to_score=format_number(float(row.scores[row.explained])),
        outputs=[] if explanation.is_regression else _draw_probabilities(row, explanation.outputs),
        contributions=draw_bars(row.contributions),
        absent=[name for name in explainer.scorer.modalities if name not in row.contributions],
        panels=[draw_panel(modality, row, explainer) for modality in row.saliency],
    )


def _draw_means(values: Mapping[str, float]) -> list[Bar]:
    largest = max(values.values(), default=0.0)
    bars = []
    for name, value in values.items():
        width = 100 * value / largest if largest > 0 else 0.0
        bars.append(Bar(shorten(name), format_number(value), 0, width, "share"))
    return bars


def _draw_probabilities(row: ExplainedRow, outputs: Sequence[str]) -> list[Bar]:
    """Draw the largest probabilities, and that of the true class."""
    shown = np.argsort(-row.scores, kind="stable")[:MAX_OUTPUTS].tolist()
    if row.truth in outputs and outputs.index(row.truth) not in shown:
        shown.append(outputs.index(row.truth))
    bars = []
    for number in shown:
        score = float(row.scores[number])
        mark = "true" if outputs[number] == row.truth else ""
        bars.append(Bar(shorten(outputs[number]), f"{score:.3f}", 0, 100 * score, "share", mark))
    return bars
