"""Pictures and spectrograms with heat over them, as JPEG inside the page, and series with heat behind them."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from PIL import Image

SIDE = 168  # pixels of the longer side of a picture
SPECTROGRAM_SIZE = (400, 112)  # width and height, pixels
MAX_CELLS = 32  # of heat along each side: finer gradients are noise
SUPPORTS, OPPOSES = (213, 94, 0), (0, 114, 178)  # orange and blue of Okabe & Ito (2008)
MAX_STRIPS, MAX_POINTS, MAX_CHANNELS = 96, 480, 6  # of a drawn series
CHART_WIDTH, CHART_HEIGHT = 480, 120
DASHES = ("none", "6 3", "2 3", "8 3 2 3", "1 3", "12 4")  # of the channels
RESAMPLE = Image.Resampling


def fit_size(height: int, width: int) -> tuple[int, int]:
    """Return the width and height at which a picture is shown."""
    scale = SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def to_image(pixels: np.ndarray) -> Image.Image:
    """Return what an encoder reads as a picture.

    Args:
        pixels: [C, H, W], 0..1; the mean of all channels is shown where they are neither grey nor colour.
    """
    if len(pixels) == 4:
        pixels = pixels[:3]
    elif len(pixels) != 3:
        grey = pixels[0] if len(pixels) == 2 else pixels.mean(0)
        pixels = np.stack([grey] * 3)
    levels = (np.nan_to_num(pixels).clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(levels.transpose(1, 2, 0))


def to_spectrogram_image(cells: np.ndarray) -> Image.Image:
    """Return a spectrogram as a grey picture, low frequencies at the bottom.

    Args:
        cells: [bands, frames].
    """
    low, high = float(cells.min()), float(cells.max())
    scaled = (cells - low) / (high - low) if high > low else np.zeros_like(cells)
    return to_image(scaled[None, ::-1])


def resize(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Resize a picture; one that becomes larger keeps its pixels visible."""
    return image.resize(size, RESAMPLE.NEAREST if size[0] > image.width else RESAMPLE.LANCZOS)


def overlay(image: Image.Image, values: np.ndarray, size: tuple[int, int], opacity: float) -> Image.Image:
    """Draw heat over a grey copy of a picture: orange supports the explained output, blue opposes it.

    Args:
        image: any picture.
        values: heat [h, w] over the whole picture.
        size: width and height of the result.
        opacity: of the strongest cell, 0..1.
    """
    heat = Image.fromarray(values.astype(np.float32))
    cells = (min(heat.width, MAX_CELLS), min(heat.height, MAX_CELLS))
    is_fine = cells != heat.size
    heat = heat.resize(cells, RESAMPLE.BOX).resize(size, RESAMPLE.BICUBIC if is_fine else RESAMPLE.NEAREST)
    strength = np.asarray(heat)
    largest = float(np.abs(strength).max())
    share = np.abs(strength) / largest if largest > 0 else np.zeros_like(strength)
    alpha = 0.85 * opacity * share[..., None] ** 0.7
    colour = np.where(strength[..., None] > 0, np.array(SUPPORTS), np.array(OPPOSES))
    grey = np.asarray(resize(image, size).convert("L"), dtype=np.float32)[..., None] * 0.7 + 40
    return Image.fromarray((grey * (1 - alpha) + colour * alpha).clip(0, 255).astype(np.uint8))


def to_data_uri(image: Image.Image) -> str:
    """Return a picture as a URI that holds it."""
    stream = io.BytesIO()
    image.convert("RGB").save(stream, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def tint(value: float, largest: float, opacity: float) -> str:
    """Return the CSS colour of a value: its sign as the hue, its strength as the opacity.

    Args:
        value: to show.
        largest: absolute value with full strength.
        opacity: of that value, 0..1.
    """
    red, green, blue = SUPPORTS if value > 0 else OPPOSES
    alpha = 0.0 if largest <= 0 else 0.75 * opacity * abs(value) / largest
    return f"rgba({red},{green},{blue},{alpha:.3f})"


def draw_series(values: np.ndarray, heat: np.ndarray, opacity: float) -> Markup:
    """Draw the channels of a series as lines, with heat behind them.

    Args:
        values: [C, T]; the first six channels are drawn.
        heat: [C, T], summed over the channels, or windows.
        opacity: of the strongest heat, 0..1.

    Returns:
        An SVG.
    """
    strips = heat.sum(0) if heat.ndim == 2 else heat
    if len(strips) > MAX_STRIPS:
        edges = np.linspace(0, len(strips), MAX_STRIPS, endpoint=False).astype(int)
        strips = np.add.reduceat(strips, edges)
    largest = float(np.abs(strips).max(initial=0))
    width = CHART_WIDTH / max(1, len(strips))
    shapes = []
    for number, value in enumerate(strips.tolist()):
        place = f'x="{number * width:.1f}" width="{width + 0.2:.1f}" height="{CHART_HEIGHT}"'
        shapes.append(f'<rect {place} fill="{tint(value, largest, opacity)}"/>')
    shapes += _draw_lines(values[:MAX_CHANNELS])
    size = f"0 0 {CHART_WIDTH} {CHART_HEIGHT}"
    return Markup(f'<svg viewBox="{size}" role="img" aria-label="series with heat">{"".join(shapes)}</svg>')


def _draw_lines(values: np.ndarray) -> Sequence[str]:
    """Return a line for each channel, all on one scale."""
    num_steps = values.shape[1]
    if num_steps == 0:
        return []
    steps = np.unique(np.linspace(0, num_steps - 1, min(num_steps, MAX_POINTS)).round().astype(int))
    low, high = float(values.min()), float(values.max())
    scale = (CHART_HEIGHT - 12) / (high - low) if high > low else 0.0
    lines = []
    for channel, dashes in zip(values, DASHES, strict=False):
        points = [
            f"{(step + 0.5) * CHART_WIDTH / num_steps:.1f},{CHART_HEIGHT - 6 - (channel[step] - low) * scale:.1f}"
            for step in steps.tolist()
        ]
        lines.append(f'<polyline points="{" ".join(points)}" stroke-dasharray="{dashes}"/>')
    return lines
