"""Real handwritten digits with synthetic sound and text: three modalities, created in a second without a download."""

import functools
import hashlib
import json
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, cast

import numpy as np

from mmrun.data.split import make_split
from mmrun.data.table import Column, Table, Target
from mmrun.errors import ConfigError
from mmrun.values import NonNegativeFloat, NonNegativeInt, Share

REVISION = 1  # of what the arguments mean; enters the fingerprint
KINDS = {"image": "image", "audio": "audio", "text": "text"}
SAMPLE_RATE, NUM_SAMPLES, IMAGE_SIZE = 8000, 4000, 32
LOW = (941, 697, 697, 697, 770, 770, 770, 852, 852, 852)  # Hz, the pair of tones of each digit's telephone key (DTMF)
HIGH = (1336, 1209, 1336, 1477, 1209, 1336, 1477, 1209, 1336, 1477)
WORDS = {
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "en": "zero one two three four five six seven eight nine",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
}


def digits(
    image_noise: NonNegativeFloat = 0.35,
    image_occlusion: Share = 0.3,
    audio_snr: float = -13.0,
    audio_spread: NonNegativeFloat = 8.0,
    text_wrong: Share = 0.25,
    text_typos: Share = 0.2,
    languages: Sequence[Literal["de", "en", "es", "fr", "it"]] = ("de", "en", "es", "fr", "it"),
    data_seed: NonNegativeInt = 0,
    kinds: dict[str, str] | None = None,
) -> Table:
    """Return the 1,797 digits of scikit-learn as images, as the tones of telephone keys and as written words.

    Each row of each modality is degraded independently, so that none suffices and several together do.

    Args:
        image_noise: standard deviation of white noise, as a share of the brightness range.
        image_occlusion: share of the image that a grey square hides, 0 to 1.
        audio_snr: dB, tones over white noise, mean of the rows.
        audio_spread: dB, standard deviation of the rows around that mean.
        text_wrong: share of the rows whose word names a random digit.
        text_typos: share of the rows with a typing error.
        languages: of the words, out of de, en, es, fr, it.
        data_seed: of the noise and of the split.
        kinds: has to be that of the three modalities; for the config.

    Raises:
        ConfigError: an argument is out of range.
    """
    _check(image_occlusion, text_wrong, text_typos, languages, kinds)
    levels = (image_noise, image_occlusion, audio_snr, audio_spread, text_wrong, text_typos)
    columns, classes = _draw_columns(levels, tuple(sorted(languages)), data_seed)
    recipe = json.dumps(["digits", REVISION, levels, sorted(languages), data_seed])
    return Table(
        ids=[f"digit-{row:04d}" for row in range(len(classes))],
        columns=dict(columns),
        targets={"label": Target("classification", classes.copy(), [str(digit) for digit in range(10)])},
        split=make_split(len(classes), data_seed, classes),
        fingerprint=hashlib.sha256(recipe.encode()).hexdigest(),
    )


def _check(
    image_occlusion: float,
    text_wrong: float,
    text_typos: float,
    languages: Sequence[str],
    kinds: dict[str, str] | None,
) -> None:
    if kinds is not None and kinds != KINDS:
        raise ConfigError(
            f"dataset.kinds: digits has {KINDS}, found {kinds}; leave modalities out with modalities=[...]"
        )
    shares = {"image_occlusion": image_occlusion, "text_wrong": text_wrong, "text_typos": text_typos}
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ConfigError(f"dataset.{name}: {share} is not a share; it must lie between 0 and 1")
    unknown = [language for language in languages if language not in WORDS]
    if unknown or not languages:
        raise ConfigError(f"dataset.languages: {list(languages)}; choose at least one of {', '.join(WORDS)}")


@functools.lru_cache(maxsize=1)  # the runs of a sweep read the same rows
def _draw_columns(
    levels: tuple[float, float, float, float, float, float], languages: tuple[str, ...], data_seed: int
) -> tuple[dict[str, Column], np.ndarray]:
    """Return the columns and the classes of the rows."""
    image_noise, image_occlusion, audio_snr, audio_spread, text_wrong, text_typos = levels
    pictures, classes = _load_digits()
    image_rng, audio_rng, text_rng = (np.random.default_rng([data_seed, stream]) for stream in range(3))
    columns = {
        "image": Column("image", _draw_images(pictures, image_noise, image_occlusion, image_rng)),
        "audio": Column("audio", _draw_tones(classes, audio_snr, audio_spread, audio_rng)),
        "text": Column("text", _draw_words(classes, text_wrong, text_typos, languages, text_rng)),
    }
    return columns, classes


def _load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the pictures, [N, 8, 8], and classes of scikit-learn's `load_digits`, whose import takes a second."""
    spec = cast(ModuleSpec, find_spec("sklearn"))
    rows = np.loadtxt(Path(cast(str, spec.origin)).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)


def _draw_images(pictures: np.ndarray, noise: float, occlusion: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Enlarge to 32 x 32, add white noise, and hide a random square of the given share of the area in grey."""
    num_rows, size = len(pictures), pictures.shape[1]
    position = np.clip((np.arange(IMAGE_SIZE) + 0.5) * size / IMAGE_SIZE - 0.5, 0, size - 1)
    weights = np.clip(1 - np.abs(position[:, None] - np.arange(size)), 0, 1).astype(np.float32)  # [32, 8], bilinear
    pixels = weights @ (pictures.astype(np.float32) * (255 / 16)) @ weights.T  # [N, 32, 32]
    pixels += noise * 255 * rng.standard_normal(pixels.shape, dtype=np.float32)
    images = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    side = round(IMAGE_SIZE * occlusion**0.5)
    for image, (top, left) in zip(images, rng.integers(0, IMAGE_SIZE - side + 1, (num_rows, 2)), strict=True):
        image[top : top + side, left : left + side] = 128
    return list(images[:, None])


def _draw_tones(
    classes: np.ndarray, snr: float, spread: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, int]]:
    """Play each digit's two tones at random phases, `snr` dB above white noise; rows differ by `spread` dB."""
    angle = 2 * np.pi * np.arange(NUM_SAMPLES) / SAMPLE_RATE
    decibels = rng.normal(snr, spread, (len(classes), 1))
    noise = (10 ** (-decibels / 20)).astype(np.float32)  # [N, 1], its standard deviation; each tone has power 1/2
    sound = rng.standard_normal((len(classes), NUM_SAMPLES), dtype=np.float32) * noise
    for hertz in (LOW, HIGH):
        phase = rng.uniform(0, 2 * np.pi, (len(classes), 1)).astype(np.float32)
        wave = np.array(hertz)[:, None] * angle  # [10, S]
        sine, cosine = np.sin(wave).astype(np.float32)[classes], np.cos(wave).astype(np.float32)[classes]
        sound += sine * np.cos(phase) + cosine * np.sin(phase)
    loudness = 32767 / 5 / np.sqrt(1 + noise**2)  # five standard deviations fit into 16 bits
    return [(samples, SAMPLE_RATE) for samples in np.clip(np.rint(sound * loudness), -32768, 32767).astype(np.int16)]


def _draw_words(
    classes: np.ndarray, wrong: float, typos: float, languages: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """Return a name for each digit, in one of the languages; some name a random digit, some have a typo."""
    num_rows = len(classes)
    named = np.where(rng.random(num_rows) < wrong, rng.integers(0, 10, num_rows), classes)
    language_of = rng.integers(0, len(languages), num_rows)
    words = [WORDS[languages[language]].split()[digit] for language, digit in zip(language_of, named, strict=True)]
    has_typo = rng.random(num_rows) < typos
    return [_mistype(word, rng) if typo else word for word, typo in zip(words, has_typo, strict=True)]


def _mistype(word: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters, drop one, or hit a wrong key."""
    position, mistake = int(rng.integers(0, len(word) - 1)), int(rng.integers(0, 3))
    first, second = word[position], word[position + 1]
    replacement = (second + first, second, chr(97 + int(rng.integers(0, 26))) + second)[mistake]
    return word[:position] + replacement + word[position + 2 :]
