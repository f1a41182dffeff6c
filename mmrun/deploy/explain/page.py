"""Explanations as one self-contained HTML page: no network access, no script, and a bounded size."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from torch import Tensor

from mmrun.data.preprocess.points import draw_map
from mmrun.deploy.explain import pictures
from mmrun.deploy.explain.explainer import Explainer, Saliency
from mmrun.deploy.explain.file import ExplainedRow, FileExplanation
from mmrun.models.encoders.logmel import LogMel
from mmrun.results.formatting import pluralize
from mmrun.version import __version__

MAP_SIZE = 84  # pixels along each side of a point cloud from above
MAX_OUTPUTS = 5  # whose probabilities are shown
MAX_COLUMNS = 20  # of a table, those with the largest values
MAX_LETTERS = 4000  # of a text
NOTICEABLE = 0.05  # heat that adds up to a smaller share of all contributions is drawn fainter
ROUNDING = 1e-6  # what is smaller is shown as 0
MAX_NAME = 120  # letters of a name or cell
METHODS = {"integrated_gradients": "integrated gradients", "occlusion": "occlusion"}


@dataclass(frozen=True)
class Bar:
    """A number as a bar from the middle to one side.

    Attributes:
        name: beside it.
        text: the number.
        left: begin of the bar, per cent of the width.
        width: per cent of the width.
        sign: supports, opposes, or share for a probability.
        detail: after the name; "" for none.
    """

    name: str
    text: str
    left: float
    width: float
    sign: str
    detail: str = ""


@dataclass(frozen=True)
class Span:
    """A piece of a text.

    Attributes:
        text: with the space after it.
        colour: of the background; "" for none.
        value: its attribution; "" for none.
    """

    text: str
    colour: str = ""
    value: str = ""


@dataclass(frozen=True)
class Panel:
    """One modality of a row; of the attributes below the title, one kind is filled.

    Attributes:
        modality: its name.
        title: name of the file, or "".
        about: method, baseline and gap.
        images: data URIs with their descriptions.
        is_wide: whether these are spectrograms.
        spans: of a text.
        bars: of a table.
        chart: of a series, an SVG.
        more: what is not shown.
    """

    modality: str
    title: str
    about: str
    images: list[tuple[str, str]] = field(default_factory=list)
    is_wide: bool = False
    spans: list[Span] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    chart: str = ""
    more: str = ""


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
    cards = [draw_row(row, explanation, explainer) for row in explanation.rows]
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


def draw_row(row: ExplainedRow, explanation: FileExplanation, explainer: Explainer) -> Card:
    """Draw one row.

    Args:
        row: explained.
        explanation: that it belongs to.
        explainer: of the run.
    """
    verdicts = {None: "", True: "error", False: "right"}
    return Card(
        title=shorten(row.id),
        verdict=verdicts[row.is_error],
        prediction=shorten(row.prediction or "none"),
        truth=None if row.truth is None else shorten(row.truth or "none"),
        explained=shorten(explanation.outputs[row.explained]),
        from_score=format_score(row.empty_score),
        to_score=format_score(float(row.scores[row.explained])),
        outputs=[] if explanation.is_regression else _draw_probabilities(row, explanation.outputs),
        contributions=draw_bars(row.contributions),
        absent=[name for name in explainer.scorer.modalities if name not in row.contributions],
        panels=[_draw_panel(modality, row, explainer) for modality in row.saliency],
    )


def _draw_means(values: Mapping[str, float]) -> list[Bar]:
    largest = max(values.values(), default=0.0)
    bars = []
    for name, value in values.items():
        width = 100 * value / largest if largest > 0 else 0.0
        bars.append(Bar(shorten(name), format_score(value), 0, width, "share"))
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


def draw_bars(values: Mapping[str, float], details: Mapping[str, str] | None = None) -> list[Bar]:
    """Draw numbers as bars to both sides of a middle, on one scale.

    Args:
        values: by name.
        details: after the names.
    """
    largest = max((abs(value) for value in values.values()), default=0.0)
    bars = []
    for name, value in values.items():
        width = 50 * abs(value) / largest if largest > 0 else 0.0
        detail = shorten((details or {}).get(name, ""))
        sign = "supports" if value > 0 else "opposes"
        bars.append(Bar(shorten(name), format_signed(value), 50 - width if value < 0 else 50, width, sign, detail))
    return bars


def format_signed(value: float) -> str:
    """Return a number with its sign.

    Args:
        value: of a contribution.
    """
    if abs(value) < ROUNDING:
        return "0"
    return f"{value:+.3f}" if 0.0005 <= abs(value) < 1000 else f"{value:+.2g}"


def format_score(value: float) -> str:
    """Return a score with few digits.

    Args:
        value: a probability, or a number in the unit of the target.
    """
    if abs(value) >= 1000:
        return f"{value:.4g}"
    return f"{value:.3f}" if abs(value) >= 0.0005 else f"{value:.2g}"


def shorten(text: str) -> str:
    """Return the beginning of a name or cell.

    Args:
        text: of the user.
    """
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…"


# ---------------------------------------------------------------------------------------------------- modalities


def measure_opacity(saliency: Saliency, row: ExplainedRow) -> float:
    """Return how visible the heat of a modality is, 0..1: it fades where all of it hardly moves the score.

    Args:
        saliency: of the modality.
        row: that it belongs to.
    """
    noticeable = NOTICEABLE * sum(map(abs, row.contributions.values()))
    return min(1.0, float(np.abs(saliency.values).sum()) / noticeable) if noticeable > 0 else 1.0


def _draw_panel(modality: str, row: ExplainedRow, explainer: Explainer) -> Panel:
    saliency, raw = row.saliency[modality], row.raw[modality]
    title = shorten(raw.name) if isinstance(raw, Path) else ""
    change = float(row.scores[row.explained]) - saliency.baseline_score
    baseline = explainer.describe_baseline(saliency.kind)
    about = f"{METHODS[saliency.method]}; {format_signed(change)} in all, against {baseline}"
    panel = {
        "image": _draw_image,
        "video": _draw_video,
        "audio": _draw_sound,
        "text": _draw_text,
        "tabular": _draw_table,
        "series": _draw_series,
        "points": _draw_points,
    }[saliency.kind]
    return panel(modality, title, about, saliency, row, explainer)


def _draw_image(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    image = pictures.to_image(cast(Tensor, row.batch.inputs[modality])[0].cpu().numpy())
    size = pictures.fit_size(image.height, image.width)
    heat = pictures.overlay(image, saliency.values, size, measure_opacity(saliency, row))
    images = [(pictures.to_data_uri(pictures.resize(image, size)), "as the model reads it")]
    return Panel(modality, title, about, [*images, (pictures.to_data_uri(heat), "with heat")])


def _draw_video(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    frames = cast(Tensor, row.batch.inputs[modality])[0].cpu().numpy()  # [T, C, H, W]
    strip = pictures.to_image(np.concatenate(list(frames), axis=-1))
    size = pictures.fit_size(strip.height, strip.width)
    heat = pictures.overlay(strip, saliency.values, size, measure_opacity(saliency, row))
    plain = pictures.resize(strip, size)
    images = [
        (pictures.to_data_uri(plain), "the frames that the model reads"),
        (pictures.to_data_uri(heat), "with heat"),
    ]
    return Panel(modality, title, about, images, is_wide=True)


def _draw_sound(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    cells = saliency.picture
    if cells is None:
        cells = _compute_spectrogram(cast(dict[str, Tensor], row.batch.inputs[modality]), modality, explainer)
    image = pictures.to_spectrogram_image(cells)
    values = saliency.values[::-1] if saliency.values.ndim == 2 else saliency.values[None]
    heat = pictures.overlay(image, values, pictures.SPECTROGRAM_SIZE, measure_opacity(saliency, row))
    plain = pictures.resize(image, pictures.SPECTROGRAM_SIZE)
    images = [(pictures.to_data_uri(plain), "log-mel spectrogram"), (pictures.to_data_uri(heat), "with heat")]
    return Panel(modality, title, about, images, is_wide=True)


def _compute_spectrogram(x: dict[str, Tensor], modality: str, explainer: Explainer) -> np.ndarray:
    """Return the spectrogram of a sound whose encoder reads the waveform, [bands, frames]."""
    metadata = explainer.predictor.fitted.preprocessors[modality].metadata
    with torch.no_grad():
        spectrogram: np.ndarray = LogMel(metadata["sample_rate"])(x["waveform"].float().cpu())[0].numpy()
    return spectrogram


def _draw_text(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    text = saliency.text
    spans = list(_cut_text(text, saliency, measure_opacity(saliency, row)))
    more = ""
    if saliency.spans and len(text) > saliency.spans[-1][1]:
        more = "the model reads the text up to its last coloured word"
    if len(text) > MAX_LETTERS:
        more = f"the first {MAX_LETTERS:,} of {len(text):,} letters"
    return Panel(modality, title, about, spans=spans, more=more)


def _cut_text(text: str, saliency: Saliency, opacity: float) -> Iterator[Span]:
    """Yield the words of a text with their colours, and what stands between them."""
    largest = float(np.abs(saliency.values).max(initial=0))
    place = 0
    for (begin, end), value in zip(saliency.spans, saliency.values.tolist(), strict=True):
        if end > MAX_LETTERS:
            break
        if begin > place:
            yield Span(text[place:begin])
        yield Span(text[max(begin, place) : end], pictures.tint(value, largest, opacity), format_signed(value))
        place = max(place, end)
    if place < min(len(text), MAX_LETTERS):
        yield Span(text[place:MAX_LETTERS])


def _draw_table(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    values = dict(zip(saliency.names, saliency.values.tolist(), strict=True))
    shown = sorted(values, key=lambda name: -abs(values[name]))[:MAX_COLUMNS]
    cells = row.raw[modality]
    details = {}
    for name in shown:
        cell = cells.get(name) if isinstance(cells, Mapping) else None
        details[name] = "empty" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    more = f"{len(values) - len(shown)} more columns with smaller values" if len(values) > len(shown) else ""
    bars = draw_bars({name: values[name] for name in shown}, details)
    return Panel(modality, title, about, bars=bars, more=more)


def _draw_series(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    x = cast(dict[str, Tensor], row.batch.inputs[modality])
    values, num_steps = x["values"][0].cpu().numpy(), int(x["mask"].sum())
    num_shown = -(-saliency.values.shape[-1] * num_steps // values.shape[1])  # without the padding
    values, heat = values[:, :num_steps], saliency.values[..., :num_shown]
    more = f"the first {pictures.MAX_CHANNELS} of {len(values)} channels" if len(values) > pictures.MAX_CHANNELS else ""
    return Panel(
        modality,
        title,
        about,
        chart=pictures.draw_series(values, heat, measure_opacity(saliency, row)),
        more=more,
    )


def _draw_points(
    modality: str, title: str, about: str, saliency: Saliency, row: ExplainedRow, explainer: Explainer
) -> Panel:
    x = cast(dict[str, Tensor], row.batch.inputs[modality])
    points = x["points"][0, :, x["mask"][0]].T.cpu().numpy()
    image = pictures.to_image(draw_map(points, MAP_SIZE)[None])
    size = pictures.fit_size(image.height, image.width)
    heat = pictures.overlay(image, saliency.values, size, measure_opacity(saliency, row))
    images = [(pictures.to_data_uri(pictures.resize(image, size)), "from above")]
    return Panel(modality, title, about, [*images, (pictures.to_data_uri(heat), "with heat")])
