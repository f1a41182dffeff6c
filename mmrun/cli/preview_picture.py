"""The picture of `mmrun data preview`: a line of cells for each row, original and augmented side by side."""

import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from mmrun.data.preprocess.tabular import Cells
from mmrun.models.encoders.logmel import LogMel
from mmrun.objectives.augmentations.text import spell
from mmrun.results.formatting import escape_controls
from mmrun.run.preview import Preview
from mmrun.types import ITEMS, Input

STYLE = {"font.family": "sans-serif", "font.size": 8, "text.parse_math": False, "svg.fonttype": "none"}
CELL_SIZE = dict.fromkeys(("audio", "series", "tabular"), 2.0)  # inches
CELL_SIZE |= {"image": 1.5, "points": 1.5, "video": 4.5, "text": 2.6}
ROW_HEIGHT = 1.5  # inches
LABEL_WIDTH = 1.2  # inches, of the column of ids and targets
LETTERS_PER_INCH = 15
MAX_LINES = 9  # of text in a cell
MAX_CHANNELS = 8  # of a series
MIN_WINDOW, MAX_MELS = 64, 64  # of a spectrogram

Parts = dict[str, Tensor]


def draw_picture(preview: Preview, output: Path) -> None:
    """Draw all rows and modalities.

    Args:
        preview: rows before and after augmentation.
        output: .png, .svg or .pdf.
    """
    columns = _list_columns(preview)
    kinds, num_rows = preview.data.kinds, len(preview.original.index)
    widths = [LABEL_WIDTH, *(CELL_SIZE[kinds[modality]] for modality, _, _ in columns)]
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of a script that the font lacks
        figure = Figure(figsize=(sum(widths), 0.4 + ROW_HEIGHT * num_rows), layout="constrained", dpi=110)
        grid: np.ndarray = figure.subplots(num_rows, len(widths), squeeze=False, width_ratios=widths)
        for place, row in enumerate(preview.original.index.tolist()):
            _write(grid[place, 0], _describe_row(preview, row), LABEL_WIDTH)
        for position, (modality, title, inputs) in enumerate(columns, start=1):
            grid[0, position].set_title(escape_controls(title), fontsize=8)
            metadata = preview.data.metadata[modality]
            draw = DRAW[kinds[modality]]
            for place in range(num_rows):
                axes = grid[place, position]
                if preview.original.present[modality][place]:
                    draw(axes, _take_row(inputs, place), _add_names(metadata, preview, modality))
                else:
                    _write(axes, "(missing)", CELL_SIZE[kinds[modality]])
        figure.savefig(output)


def _list_columns(preview: Preview) -> list[tuple[str, str, Input]]:
    """Return modality, title and inputs of each column of cells."""
    columns = []
    for modality, original in preview.original.inputs.items():
        columns.append((modality, modality, original))
        augmented = preview.augmented.inputs[modality]
        if augmented is not original:
            columns.append((modality, f"{modality}, augmented", augmented))
    return columns


def _describe_row(preview: Preview, row: int) -> str:
    """Return the id and the targets of a row."""
    table = preview.data.table
    lines = [str(table.ids[row])]
    for name, target in table.targets.items():
        value = target.values[row]
        if target.task in ("classification", "ordinal"):
            text = target.names[int(value)] if value >= 0 else "(hidden)"
        else:
            text = np.array2string(np.asarray(value), precision=3, threshold=6)
        lines.append(f"{name}: {text}")
    return "\n".join(lines)


def _take_row(x: Input, place: int) -> Parts:
    """Return the parts of one row; of several items, pictures side by side or the first sound."""
    parts = {name: part[place] for name, part in (x.items() if isinstance(x, dict) else [("", x)])}
    if ITEMS not in parts:
        return parts
    is_real = parts.pop(ITEMS)
    return {name: torch.cat(list(part[is_real]), -1) if name == "" else part[0] for name, part in parts.items()}


def _add_names(metadata: Mapping[str, Any], preview: Preview, modality: str) -> dict[str, Any]:
    """Return the metadata of a modality, with the function that formats the cells of a table."""
    preprocessor = preview.data.preprocessors[modality]
    if isinstance(preprocessor, Cells):
        return {**metadata, "format_row": preprocessor.format_row}
    return dict(metadata)


# ------------------------------------------------------------------------------------------------------ one cell


def _draw_image(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    pixels = x[""].numpy()
    if len(pixels) != 3:
        pixels = pixels[:1]
    axes.imshow(pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    _hide_axes(axes)


def _draw_video(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    """Draw all frames side by side."""
    _draw_image(axes, {"": torch.cat(list(x[""]), -1)}, metadata)


def _draw_audio(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    """Draw the log-mel spectrogram up to the end of the clip, over the time of the padded one."""
    rate, num_samples = int(metadata["sample_rate"]), x["waveform"].shape[0]
    window = max(MIN_WINDOW, 2 ** round(np.log2(rate * 0.025)))
    spectrogram = LogMel(rate, min(MAX_MELS, window // 8), window, window // 2)(x["waveform"].unsqueeze(0))[0]
    end = float(x["length"]) / rate
    num_frames = max(1, round(float(x["length"]) / (window // 2)))
    axes.imshow(
        spectrogram[:, :num_frames].numpy(),
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=-3,
        vmax=3,
        extent=(0, max(end, 1e-3), 0, rate / 2000),
    )
    axes.set_xlim(0, num_samples / rate)
    axes.tick_params(labelsize=6)
    axes.set_yticks([])


def _draw_series(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    axes.plot(x["values"][:MAX_CHANNELS, x["mask"]].T.numpy(), linewidth=0.9)
    axes.set_xlim(0, x["mask"].shape[0])
    axes.tick_params(labelsize=6)


def _draw_points(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    """Draw the points from above, the higher the brighter; lower ones first."""
    points = x["points"][:, x["mask"]]
    x_axis, y_axis, height = points[:3, points[2].argsort()].numpy()
    axes.scatter(x_axis, y_axis, s=max(0.6, 120 / len(height)), c=height, cmap="viridis", linewidths=0)
    axes.set_aspect("equal", "datalim")
    axes.tick_params(labelsize=6)


def _draw_text(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    ids = x["ids"][x["mask"]].tolist()
    special = set(metadata.get("special_ids", ())) - {metadata.get("mask_id")}
    shown = [number for number in ids if number not in special]
    tokenizer = metadata.get("tokenizer")
    text = " ".join(map(str, shown)) if tokenizer is None else spell(tokenizer, shown)
    _write(axes, text, CELL_SIZE["text"])


def _draw_table(axes: Axes, x: Parts, metadata: Mapping[str, Any]) -> None:
    """Write the cells in their units; those of an own preprocessor as it decoded them."""
    format_row = metadata.get("format_row", _format_row)
    lines = format_row(x["numeric"].tolist(), x["missing"].tolist(), x["categorical"].tolist())
    _write(axes, "\n".join(lines), CELL_SIZE["tabular"])


def _format_row(numeric: Sequence[float], missing: Sequence[bool], categorical: Sequence[int]) -> list[str]:
    lines = [f"number {i}: {'-' if missing[i] else format(number, '.4g')}" for i, number in enumerate(numeric)]
    return lines + [f"category {i}: {number if number > 0 else '-'}" for i, number in enumerate(categorical)]


def _write(axes: Axes, text: str, width: float) -> None:
    """Write a text from the upper left corner of a cell, in lines that fit."""
    lines: list[str] = []
    for line in text.splitlines():
        lines += textwrap.wrap(line, max(8, int(width * LETTERS_PER_INCH))) or [""]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], "..."]
    axes.text(0, 1, escape_controls("\n".join(lines)), ha="left", va="top", transform=axes.transAxes)
    axes.axis("off")


def _hide_axes(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])


Draw = Callable[[Axes, Parts, Mapping[str, Any]], None]
DRAW: dict[str, Draw] = {
    "image": _draw_image,
    "video": _draw_video,
    "audio": _draw_audio,
    "series": _draw_series,
    "points": _draw_points,
    "text": _draw_text,
    "tabular": _draw_table,
}
