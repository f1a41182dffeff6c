"""Real handwritten digits, dialled and named: three modalities, made in a blink, without a download."""

import hashlib
import json

import numpy as np

from mmrun.data.split import make_split
from mmrun.data.table import Column, Table, Target
from mmrun.errors import ConfigError

REVISION = 1  # of what the arguments mean; counts in the fingerprint
KINDS = {"image": "image", "audio": "audio", "text": "text"}
SAMPLE_RATE, NUM_SAMPLES, IMAGE_SIZE = 8000, 4000, 32
LOW = (941, 697, 697, 697, 770, 770, 770, 852, 852, 852)  # Hz, the telephone's tone pair of each digit
HIGH = (1336, 1209, 1336, 1477, 1209, 1336, 1477, 1209, 1336, 1477)
WORDS = {
    "de": "null eins zwei drei vier fünf sechs sieben acht neun",
    "en": "zero one two three four five six seven eight nine",
    "es": "cero uno dos tres cuatro cinco seis siete ocho nueve",
    "fr": "zéro un deux trois quatre cinq six sept huit neuf",
    "it": "zero uno due tre quattro cinque sei sette otto nove",
}


def digits(
    image_noise: float = 0.35,
    image_occlusion: float = 0.3,
    audio_snr: float = -13.0,
    audio_spread: float = 8.0,
    text_wrong: float = 0.25,
    text_typos: float = 0.2,
    languages: list[str] | tuple[str, ...] = ("de", "en", "es", "fr", "it"),
    data_seed: int = 0,
    kinds: dict[str, str] | None = None,
) -> Table:
    """Return the 1,797 digits of scikit-learn as a picture, as the tones of a telephone key and as a written word.

    Each modality is spoilt by itself, row by row, so that none suffices and several together do.
    """
    if kinds is not None and kinds != KINDS:
        raise ConfigError(
            f"dataset.kinds: digits has {KINDS}, found {kinds}; leave modalities out with modalities=[...]"
        )
    for knob, share in (("image_occlusion", image_occlusion), ("text_wrong", text_wrong), ("text_typos", text_typos)):
        if not 0 <= share <= 1:
            raise ConfigError(f"dataset.{knob}: {share} is no share; it lies between 0 and 1")
    unknown = [language for language in languages if language not in WORDS]
    if unknown or not languages:
        raise ConfigError(f"dataset.languages: {list(languages)}; choose at least one of {', '.join(WORDS)}")
    from sklearn.datasets import load_digits

    raw = load_digits()
    classes = raw.target.astype(np.int64)
    image_rng, audio_rng, text_rng = (np.random.default_rng([data_seed, stream]) for stream in range(3))
    columns = {
        "image": Column("image", _images(raw.images, image_noise, image_occlusion, image_rng)),
        "audio": Column("audio", _tones(classes, audio_snr, audio_spread, audio_rng)),
        "text": Column("text", _words(classes, text_wrong, text_typos, sorted(languages), text_rng)),
    }
    knobs = [image_noise, image_occlusion, audio_snr, audio_spread, text_wrong, text_typos]
    recipe = json.dumps(["digits", REVISION, knobs, sorted(languages), data_seed])
    return Table(
        ids=[f"digit-{row:04d}" for row in range(len(classes))],
        columns=columns,
        targets={"label": Target("classification", classes, [str(digit) for digit in range(10)])},
        split=make_split(len(classes), data_seed, classes),
        fingerprint=hashlib.sha256(recipe.encode()).hexdigest(),
    )


def _images(pictures: np.ndarray, noise: float, occlusion: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Enlarge to 32 x 32 and add white noise; then grey out a square of the given share of the area, anywhere."""
    num_rows, small = len(pictures), pictures.shape[1]
    at = np.clip((np.arange(IMAGE_SIZE) + 0.5) * small / IMAGE_SIZE - 0.5, 0, small - 1)
    weights = np.clip(1 - np.abs(at[:, None] - np.arange(small)), 0, 1).astype(np.float32)  # [32, 8], bilinear
    pixels = weights @ (pictures.astype(np.float32) * (255 / 16)) @ weights.T  # [N, 32, 32]
    pixels += noise * 255 * rng.standard_normal(pixels.shape, dtype=np.float32)
    images = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    side = round(IMAGE_SIZE * occlusion**0.5)
    for image, (top, left) in zip(images, rng.integers(0, IMAGE_SIZE - side + 1, (num_rows, 2)), strict=True):
        image[top : top + side, left : left + side] = 128
    return list(images[:, None])


def _tones(classes: np.ndarray, snr: float, spread: float, rng: np.random.Generator) -> list[tuple[np.ndarray, int]]:
    """Sound each digit's two tones, at phases of chance, `snr` dB above white noise; rows differ by `spread` dB."""
    angle = 2 * np.pi * np.arange(NUM_SAMPLES) / SAMPLE_RATE
    decibels = rng.normal(snr, spread, (len(classes), 1))
    noise = (10 ** (-decibels / 20)).astype(np.float32)  # [N, 1], its deviation; each tone has power 1/2
    sound = rng.standard_normal((len(classes), NUM_SAMPLES), dtype=np.float32) * noise
    for hertz in (LOW, HIGH):
        phase = rng.uniform(0, 2 * np.pi, (len(classes), 1)).astype(np.float32)
        wave = np.array(hertz)[:, None] * angle  # [10, S]
        sine, cosine = np.sin(wave).astype(np.float32)[classes], np.cos(wave).astype(np.float32)[classes]
        sound += sine * np.cos(phase) + cosine * np.sin(phase)
    loudness = 32767 / 5 / np.sqrt(1 + noise**2)  # five deviations fit into 16 bits
    return [(samples, SAMPLE_RATE) for samples in np.clip(np.rint(sound * loudness), -32768, 32767).astype(np.int16)]


def _words(
    classes: np.ndarray, wrong: float, typos: float, languages: list[str], rng: np.random.Generator
) -> list[str]:
    """Return a name for each digit, in one of the languages; some name a random digit, some have a typo."""
    num_rows = len(classes)
    named = np.where(rng.random(num_rows) < wrong, rng.integers(0, 10, num_rows), classes)
    spoken = rng.integers(0, len(languages), num_rows)
    words = [WORDS[languages[language]].split()[digit] for language, digit in zip(spoken, named, strict=True)]
    mistyped = rng.random(num_rows) < typos
    return [_mistype(word, rng) if miss else word for word, miss in zip(words, mistyped, strict=True)]


def _mistype(word: str, rng: np.random.Generator) -> str:
    """Swap two neighbouring letters, leave one out or hit a wrong key."""
    at, slip = int(rng.integers(0, len(word) - 1)), int(rng.integers(0, 3))
    replacement = (word[at + 1] + word[at], word[at + 1], chr(97 + int(rng.integers(0, 26))) + word[at + 1])[slip]
    return word[:at] + replacement + word[at + 2 :]
