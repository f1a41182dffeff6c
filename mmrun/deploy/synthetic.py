"""Rows made of noise, to compare an exported model with its run where no data is at hand."""

from collections.abc import Callable
from typing import Any

import numpy as np

from mmrun.data.items import ItemList
from mmrun.data.preprocess.audio import Waveform
from mmrun.data.preprocess.image import Pixels
from mmrun.data.preprocess.items import Items
from mmrun.data.preprocess.points import Points
from mmrun.data.preprocess.series import Steps
from mmrun.data.preprocess.tabular import Cells
from mmrun.data.preprocess.text import Tokens
from mmrun.data.preprocess.video import Frames
from mmrun.data.table import Column
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.errors import ConfigError
from mmrun.types import Preprocessor

MIN_SHARE = 0.2  # of the full length, of the shortest sound, text or series


def make_rows(predictor: Predictor, count: int) -> Rows:
    """Make rows of noise in which all modalities are present.

    Args:
        predictor: of the run; its preprocessors say how large an image is, which words there are, and so on.
        count: N.

    Raises:
        ConfigError: a preprocessor is the user's own, so that nothing is known of what it reads.
    """
    generator = np.random.default_rng(0)
    columns = {}
    for modality, preprocessor in predictor.fitted.preprocessors.items():
        if get_item_class(preprocessor) not in MAKERS:
            raise ConfigError(
                f"encoder.{modality}.preprocess: {get_item_class(preprocessor).__name__} is a class of your own, for "
                "which no rows can be made up; add --rows FILE"
            )
        values = [_make_value(preprocessor, generator) for _ in range(count)]
        columns[modality] = Column(predictor.modalities[modality]["kind"], values)
    return Rows([str(row) for row in range(count)], columns)


def get_item_class(preprocessor: Preprocessor) -> type:
    """Return the class of a preprocessor, or of what decodes a single item where a row has several.

    Args:
        preprocessor: of a run.
    """
    return type(preprocessor.preprocessor if isinstance(preprocessor, Items) else preprocessor)


def _make_value(preprocessor: Preprocessor, generator: np.random.Generator) -> object:
    if not isinstance(preprocessor, Items):
        return MAKERS[type(preprocessor)](preprocessor, generator)
    count = generator.integers(1, preprocessor.max_items, endpoint=True)
    return ItemList(_make_value(preprocessor.preprocessor, generator) for _ in range(count))


def _make_image(preprocessor: Any, generator: np.random.Generator) -> np.ndarray:
    shape = (preprocessor.channels, preprocessor.size, preprocessor.size)
    if not preprocessor.ranges:
        return generator.integers(0, 256, shape, dtype=np.uint8)
    low, high = np.array(preprocessor.ranges).T[:, :, None, None]
    return generator.uniform(low, high, shape).astype(np.float32)


def _make_video(preprocessor: Any, generator: np.random.Generator) -> np.ndarray:
    pixels = preprocessor.pixels
    shape = (preprocessor.num_frames, pixels.channels, pixels.size, pixels.size)
    return generator.integers(0, 256, shape, dtype=np.uint8)


def _make_sound(preprocessor: Any, generator: np.random.Generator) -> tuple[np.ndarray, int]:
    samples = generator.uniform(-1, 1, _draw_length(preprocessor.num_samples, generator))
    return samples.astype(np.float32), preprocessor.sample_rate


def _make_text(preprocessor: Any, generator: np.random.Generator) -> str:
    from tokenizers import Tokenizer

    words = sorted(Tokenizer.from_str(preprocessor.state()["tokenizer"]).get_vocab())
    return " ".join(generator.choice(words, _draw_length(preprocessor.state()["max_tokens"], generator)))


def _make_cells(preprocessor: Any, generator: np.random.Generator) -> dict[str, object]:
    cells: dict[str, object] = {}
    for name, transform in preprocessor.numeric.items():
        cells[name] = transform.invert(float(generator.normal()))
    for name, transform in preprocessor.categories.items():
        cells[name] = str(generator.choice(list(transform.numbers)))
    return cells


def _make_series(preprocessor: Any, generator: np.random.Generator) -> np.ndarray:
    size = (len(preprocessor.mean), _draw_length(preprocessor.num_steps, generator))
    values = generator.normal(preprocessor.mean[:, None], preprocessor.deviation[:, None], size).astype(np.float32)
    return values if preprocessor.layout != "time_first" else values.T


def _make_points(preprocessor: Any, generator: np.random.Generator) -> np.ndarray:
    size = (_draw_length(preprocessor.num_points, generator), len(preprocessor.names))
    return generator.normal(size=size).astype(np.float32)


def _draw_length(longest: int, generator: np.random.Generator) -> int:
    return int(generator.integers(max(1, round(longest * MIN_SHARE)), longest + 1))


MAKERS: dict[type[Preprocessor], Callable[[Any, np.random.Generator], object]] = {
    Pixels: _make_image,
    Waveform: _make_sound,
    Tokens: _make_text,
    Cells: _make_cells,
    Steps: _make_series,
    Points: _make_points,
    Frames: _make_video,
}
