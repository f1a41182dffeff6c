"""The heat inside one modality of a row as pictures, words, bars or a chart."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from mmrun.data.preprocess.points import draw_map
from mmrun.deploy.explain import pictures
from mmrun.deploy.explain.explainer import Explainer, Saliency
from mmrun.deploy.explain.file import ExplainedRow
from mmrun.models.encoders.logmel import LogMel
from mmrun.results import formatting
from mmrun.types import Input

MAP_SIZE = 84  # pixels along each side of a point cloud from above
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
    """One modality of a row; of images, spans, bars and chart, one is filled.

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

    modality: str = ""
    title: str = ""
    about: str = ""
    images: list[tuple[str, str]] = field(default_factory=list)
    is_wide: bool = False
    spans: list[Span] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    chart: str = ""
    more: str = ""


class View(NamedTuple):
    """What a panel is drawn from.

    Attributes:
        saliency: of the modality.
        x: what its encoder reads, of one row.
        raw: what the file holds.
        opacity: of the strongest heat, 0..1.
        metadata: of the preprocessor.
    """

    saliency: Saliency
    x: Input
    raw: object
    opacity: float
    metadata: Mapping[str, object]


def draw_panel(modality: str, row: ExplainedRow, explainer: Explainer) -> Panel:
    """Draw one modality."""
    saliency, raw = row.saliency[modality], row.raw[modality]
    metadata = explainer.predictor.preprocessors[modality].metadata
    view = View(saliency, row.batch.inputs[modality], raw, _measure_opacity(saliency, row), metadata)
    change = format_signed(float(row.scores[row.explained]) - saliency.baseline_score)
    about = f"{METHODS[saliency.method]}; {change} in all, against {explainer.describe_baseline(saliency.kind)}"
    title = shorten(raw.name) if isinstance(raw, Path) else ""
    return replace(DRAW[saliency.kind](view), modality=modality, title=title, about=about)


def draw_bars(values: Mapping[str, float], details: Mapping[str, str] | None = None) -> list[Bar]:
    """Draw numbers as bars to both sides of a middle, on one scale."""
    largest = max((abs(value) for value in values.values()), default=0.0)
    bars = []
    for name, value in values.items():
        width = 50 * abs(value) / largest if largest > 0 else 0.0
        detail = shorten((details or {}).get(name, ""))
        sign = "supports" if value > 0 else "opposes"
        bars.append(Bar(shorten(name), format_signed(value), 50 - width if value < 0 else 50, width, sign, detail))
    return bars


def format_signed(value: float) -> str:
    """Return a contribution with its sign; rounding errors of fp32 as 0."""
    return formatting.format_signed(value if abs(value) >= ROUNDING else 0.0)


def shorten(text: str) -> str:
    """Return the beginning of a name or cell of the user."""
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}…"


def _measure_opacity(saliency: Saliency, row: ExplainedRow) -> float:
    """Return how visible the heat of a modality is: it fades where all of it hardly moves the score."""
    noticeable = NOTICEABLE * sum(map(abs, row.contributions.values()))
    return min(1.0, float(np.abs(saliency.values).sum()) / noticeable) if noticeable > 0 else 1.0


# ------------------------------------------------------------------------------------------------------------- kinds


def _draw_image(view: View) -> Panel:
    image = pictures.to_image(cast(Tensor, view.x)[0].cpu().numpy())
    return _draw_heat(view, image, view.saliency.values, "as the model reads it")


def _draw_video(view: View) -> Panel:
    frames = cast(Tensor, view.x)[0].cpu().numpy()  # [T, C, H, W]
    strip = pictures.to_image(np.concatenate(list(frames), axis=-1))
    return replace(_draw_heat(view, strip, view.saliency.values, "the frames that the model reads"), is_wide=True)


def _draw_points(view: View) -> Panel:
    x = cast(dict[str, Tensor], view.x)
    points = x["points"][0, :, x["mask"][0]].T.cpu().numpy()
    return _draw_heat(view, pictures.to_image(draw_map(points, MAP_SIZE)[None]), view.saliency.values, "from above")


def _draw_sound(view: View) -> Panel:
    cells, values = view.saliency.picture, view.saliency.values
    if cells is None:  # the encoder reads the waveform
        logmel = LogMel(cast(int, view.metadata["sample_rate"]))
        with torch.no_grad():
            cells = logmel(cast(dict[str, Tensor], view.x)["waveform"].float().cpu())[0].numpy()
    image = pictures.to_spectrogram_image(cells)
    heat = values[::-1] if values.ndim == 2 else values[None]
    panel = _draw_heat(view, image, heat, "log-mel spectrogram", pictures.SPECTROGRAM_SIZE)
    return replace(panel, is_wide=True)


def _draw_heat(
    view: View, image: Image, values: np.ndarray, caption: str, size: tuple[int, int] | None = None
) -> Panel:
    """Draw a picture, and the same with heat [h, w] over it."""
    size = size or pictures.fit_size(image.height, image.width)
    plain = pictures.to_data_uri(pictures.resize(image, size))
    heat = pictures.to_data_uri(pictures.overlay(image, values, size, view.opacity))
    return Panel(images=[(plain, caption), (heat, "with heat")])


def _draw_text(view: View) -> Panel:
    text, spans = view.saliency.text, view.saliency.spans
    more = ""
    if spans and len(text) > spans[-1][1]:
        more = "the model reads the text up to its last coloured word"
    if len(text) > MAX_LETTERS:
        more = f"the first {MAX_LETTERS:,} of {len(text):,} letters"
    return Panel(spans=list(_cut_text(view)), more=more)


def _cut_text(view: View) -> Iterator[Span]:
    """Yield the words of a text with their colours, and what stands between them."""
    text, values = view.saliency.text, view.saliency.values
    largest = float(np.abs(values).max(initial=0))
    place = 0
    for (begin, end), value in zip(view.saliency.spans, values.tolist(), strict=True):
        if end > MAX_LETTERS:
            break
        if begin > place:
            yield Span(text[place:begin])
        yield Span(text[max(begin, place) : end], pictures.tint(value, largest, view.opacity), format_signed(value))
        place = max(place, end)
    if place < min(len(text), MAX_LETTERS):
        yield Span(text[place:MAX_LETTERS])


def _draw_table(view: View) -> Panel:
    values = dict(zip(view.saliency.names, view.saliency.values.tolist(), strict=True))
    shown = sorted(values, key=lambda name: -abs(values[name]))[:MAX_COLUMNS]
    details = {}
    for name in shown:
        cell = view.raw.get(name) if isinstance(view.raw, Mapping) else None
        details[name] = "empty" if cell is None else f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    more = f"{len(values) - len(shown)} more columns with smaller values" if len(values) > len(shown) else ""
    return Panel(bars=draw_bars({name: values[name] for name in shown}, details), more=more)


def _draw_series(view: View) -> Panel:
    x = cast(dict[str, Tensor], view.x)
    values, num_steps = x["values"][0].cpu().numpy(), int(x["mask"].sum())
    num_shown = -(-view.saliency.values.shape[-1] * num_steps // values.shape[1])  # without the padding
    chart = pictures.draw_series(values[:, :num_steps], view.saliency.values[..., :num_shown], view.opacity)
    more = f"the first {pictures.MAX_CHANNELS} of {len(values)} channels" if len(values) > pictures.MAX_CHANNELS else ""
    return Panel(chart=chart, more=more)


DRAW: dict[str, Callable[[View], Panel]] = {
    "image": _draw_image,
    "video": _draw_video,
    "audio": _draw_sound,
    "text": _draw_text,
    "tabular": _draw_table,
    "series": _draw_series,
    "points": _draw_points,
}
