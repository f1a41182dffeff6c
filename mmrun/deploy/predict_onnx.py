"""Predicts the rows of a CSV or JSON Lines file with model.onnx, without mmrun or PyTorch.

Usage: python predict_onnx.py ROWS.csv -o PREDICTIONS.csv

It needs onnxruntime and numpy; Pillow for images, soundfile for sounds, tokenizers for text. `mmrun export` wrote it
beside model.onnx and preprocess.json, which says how rows are decoded. It may be changed: it is yours.
"""

import argparse
import csv
import io
import json
import math
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

BATCH_SIZE = 32
MISSING_NUMBERS = {"", "na", "n/a", "nan", "null", "none", "?", "-", "."}
MAX_DEVIATIONS = 1e30  # from the mean; beyond it, float32 would overflow
NEGLIGIBLE = 1e-6  # a range of pixel values that is narrower, relative to these, is rounding
MIN_RELATIVE_DEVIATION = float(np.finfo(np.float32).eps)  # of the mean; below it, a series is constant
FRAMES_PER_SECOND = 50  # in which silence is looked for
BLOCK, HOP = 0.4, 0.1  # s, of loudness after BS.1770
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0  # LUFS, LU
OFFSET = -0.691  # dB: a full-scale sine of 997 Hz has -3.01 LUFS
FORMULA_STARTS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # what spreadsheets take for a formula
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # of Pillow, by number of channels
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}

Parts = dict[str, np.ndarray]  # of one row of one modality
State = Mapping[str, Any]  # what was fitted to the training rows
Cells = Mapping[str, object]  # of one row, by column; None where empty


class BadRowError(Exception):
    """A row that cannot be read."""


class Row(NamedTuple):
    """One row of the file: its place, such as rows.csv:17, and its cells."""

    place: str
    cells: Cells


# ------------------------------------------------------------------------------------------------------ tables of rows


def read_rows(file: Path, encoding: str | None = None) -> Iterator[Row]:
    """Yield the rows of a CSV, TSV or JSON Lines file; `encoding` is that of a file that is not Unicode."""
    suffix = file.suffix.lower()
    if suffix in (".csv", ".tsv"):
        yield from read_csv(file, suffix, encoding)
    elif suffix in (".jsonl", ".ndjson", ".json"):
        yield from read_json(file, encoding)
    else:
        raise SystemExit(f"{file}: '{suffix}' is not read here; write it as .csv or .jsonl")


def read_csv(file: Path, suffix: str, encoding: str | None) -> Iterator[Row]:
    """Yield the rows of a CSV file; quoted cells may have several lines."""
    text = decode_text(file.read_bytes(), encoding)
    names_delimiter = text[:4].lower() == "sep="  # a line that Excel writes
    delimiter = text[4] if names_delimiter else find_delimiter(text[: 1 << 16], suffix)
    csv.field_size_limit(1 << 26)
    lines = io.StringIO(text, newline="")  # other than splitlines, which also ends lines at rare separators
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    if names_delimiter:
        next(reader)
    header = [normalize_column(name) for name in next(reader, [])]
    line = reader.line_num + 1
    for cells in reader:
        if cells:
            place = f"{file.name}:{line}"
            if len(cells) != len(header):
                raise BadRowError(f"{place}: has {len(cells)} cells, but the header has {len(header)}")
            yield Row(place, {name: normalize_cell(cell) for name, cell in zip(header, cells, strict=True)})
        line = reader.line_num + 1


def read_json(file: Path, encoding: str | None) -> Iterator[Row]:
    """Yield the rows of a file with one JSON object per line, or of one array of objects."""
    text = decode_text(file.read_bytes(), encoding)
    if text.lstrip().startswith("["):
        numbered = list(enumerate(json.loads(text), start=1))
    else:
        lines = enumerate(text.split("\n"), start=1)
        numbered = [(number, json.loads(line)) for number, line in lines if line.strip()]
    for number, cells in numbered:
        flat = flatten(cells)
        yield Row(f"{file.name}:{number}", {normalize_column(name): normalize_cell(flat[name]) for name in flat})


def flatten(cells: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return the cells of an object, those of objects inside it under dotted names: patient.age."""
    flat: dict[str, object] = {}
    for name, cell in cells.items():
        if isinstance(cell, dict) and cell:
            flat |= flatten(cell, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = None if cell == {} else cell
    return flat


def decode_text(content: bytes, other: str | None = None) -> str:
    """Decode Unicode, by its mark or its zero bytes; or the other encoding, if it is not UTF-8."""
    encoding = "utf-8-sig"
    even, odd = content[:4096:2].count(0), content[1:4096:2].count(0)
    num_bytes = len(content[:4096])
    if odd > num_bytes / 8 and odd > 8 * even:
        encoding = "utf-16-le"
    if even > num_bytes / 8 and even > 8 * odd:
        encoding = "utf-16-be"
    for mark in reversed(BYTE_ORDER_MARKS):
        encoding = BYTE_ORDER_MARKS[mark] if content.startswith(mark) else encoding
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        if other is None:
            raise
        return content.decode(other)


def find_delimiter(head: str, suffix: str) -> str:
    """Return the delimiter that cuts most of the first lines into as many cells as the header, and it into most."""
    if suffix == ".tsv":
        return "\t"
    lines = head.splitlines(keepends=True)[:20]
    lines = lines[:-1] if len(lines) > 2 and not lines[-1].endswith(("\r", "\n")) else lines
    scores = {}
    for delimiter in (",", ";", "\t", "|"):
        try:
            widths = [len(cells) for cells in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if cells]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            scores[delimiter] = (sum(width == widths[0] for width in widths) / len(widths), widths[0])
    return max(scores, key=lambda delimiter: scores[delimiter], default=",")


def normalize_column(name: str) -> str:
    """Return the name of a column without outer spaces and with composed accents."""
    return unicodedata.normalize("NFC", name).strip()


def normalize_cell(cell: object) -> object:
    """Return None for an empty cell."""
    if isinstance(cell, str):
        return cell if cell.strip() else None
    return None if isinstance(cell, float) and math.isnan(cell) else cell


class Files:
    """Finds the files that cells name, which have to lie below a folder."""

    def __init__(self, root: Path, allow_outside: bool) -> None:
        self.root, self.allow_outside = root, allow_outside

    def is_text_file(self, text: str) -> bool:
        """Return whether a text is the name of a file that holds it."""
        return text.lower().endswith(".txt") and (self.root / text).is_file()

    def find(self, cell: object) -> Path:
        """Return the path of a file."""
        path = self.root / str(cell)
        if not (self.allow_outside or path.resolve().is_relative_to(self.root.resolve())):
            raise BadRowError(f"'{cell}' lies outside {self.root}; set --root")
        if not path.is_file():
            raise BadRowError(f"'{cell}' does not exist below {self.root}; correct the name, or set --root")
        return path


# -------------------------------------------------------------------------------------------------------------- images


def decode_image(cell: object, state: State, files: Files) -> Parts:
    """Decode an image to [C, size, size]: uint8, or float32 from 0 to 1 where training images have more than 8 bits."""
    from PIL import Image, ImageOps

    path, ranges = files.find(cell), state["ranges"]
    if path.suffix.lower() == ".npy":
        return {"": decode_pixels(np.load(path, allow_pickle=False), state, path.name)}
    with Image.open(path) as opened:
        is_deep = opened.mode.startswith(("I", "F"))
        if "16" in str(opened.tile[0].args if opened.tile else "") and opened.mode.startswith("RGB"):
            raise BadRowError(f"{path.name} has 16 bits per colour, which Pillow does not read; save it as .npy")
        if not is_deep:
            opened.draft(None, (state["size"], state["size"]))
        image = ImageOps.exif_transpose(opened)
        image.load()
    if is_deep:
        return {"": decode_deep(np.asarray(image, dtype=np.float32)[None], state, path.name)}
    pixels = to_pixels(image, state)
    return {"": pixels.astype(np.float32) / 255 if ranges else pixels}


def to_pixels(image: Any, state: State) -> np.ndarray:  # uint8 [C, size, size]
    """Convert an image to the channels of all, laid on the background, and resize it."""
    from PIL import Image

    if state["channels"] not in MODES:
        raise BadRowError(f"has {len(image.getbands())} channels, not {state['channels']}")
    if state["channels"] in (1, 3) and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (*state["background"], 255)), image)
    pixels = np.asarray(resize(image.convert(MODES[state["channels"]]), state["size"]))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode_pixels(array: np.ndarray, state: State, name: str) -> np.ndarray:
    """Decode an image that is an array, [H, W] or [C, H, W]."""
    from PIL import Image

    array = array if array.ndim == 3 else array[None]
    channels, size = state["channels"], state["size"]
    if array.dtype not in (np.uint8, np.bool_):
        return decode_deep(array.astype(np.float32), state, name)
    array = array.astype(np.uint8) * (255 if array.dtype == np.bool_ else 1)
    if array.shape == (channels, size, size):
        pixels = array
    elif len(array) in (1, 3) and channels in (1, 3):
        pixels = to_pixels(Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0)), state)
    elif len(array) == channels:
        pixels = np.rint(resize_channels(array.astype(np.float32), size)).astype(np.uint8)
    else:
        raise BadRowError(f"{name} has {len(array)} channels, not {channels}")
    return pixels.astype(np.float32) / 255 if state["ranges"] else pixels


def decode_deep(pixels: np.ndarray, state: State, name: str) -> np.ndarray:
    """Scale an image of more than 8 bits by the range of the training images, float32 [C, size, size]."""
    channels, ranges = state["channels"], state["ranges"]
    if len(ranges) not in (1, len(pixels)):
        raise BadRowError(
            f"{name} has more than 8 bits in {len(pixels)} channels, unlike the training images; convert it"
        )
    low, high = np.array(ranges, dtype=np.float32).T[:, :, None, None]
    width = high - low
    is_constant = width <= NEGLIGIBLE * np.maximum(np.abs(low), np.abs(high))
    scaled = (pixels - low) / np.where(is_constant, 1, width)
    scaled = np.clip(np.nan_to_num(scaled, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    if len(scaled) == 1 and channels == 3:
        scaled = scaled.repeat(3, axis=0)
    elif len(scaled) == 3 and channels == 1:
        luminance = np.array([0.299, 0.587, 0.114], dtype=np.float32)[:, None, None]
        scaled = (scaled * luminance).sum(axis=0, keepdims=True)
    if len(scaled) != channels:
        raise BadRowError(f"{name} has {len(scaled)} channels, not {channels}")
    return resize_channels(scaled, state["size"])


def resize(image: Any, size: int) -> Any:
    """Crop the centre to a square, and resize it."""
    from PIL import Image

    width, height = image.size
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))


def resize_channels(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resize each channel alone, float32 [C, H, W] -> [C, size, size]."""
    from PIL import Image

    return np.stack([np.asarray(resize(Image.fromarray(channel), size)) for channel in pixels])


# -------------------------------------------------------------------------------------------------------------- sounds


def decode_audio(cell: object, state: State, files: Files) -> Parts:
    """Decode a sound to one channel of int16, zero-padded, and its length in samples."""
    import soundfile

    with soundfile.SoundFile(files.find(cell)) as file:
        rate = file.samplerate
        frames = -1 if "trim_db" in state else math.ceil(state["seconds"] * rate)
        samples = file.read(frames, dtype="float32")
    if len(samples) == 0:
        raise BadRowError(f"'{cell}' contains no audio")
    if samples.ndim == 2:
        samples = choose_channel(samples, state.get("mono", "mean"))
    if "trim_db" in state:
        samples = trim_silence(samples, rate, state["trim_db"])
    if rate != state["sample_rate"]:
        samples = resample(samples, rate, state["sample_rate"])
    num_samples = round(state["sample_rate"] * state["seconds"])
    samples = samples[:num_samples]
    if "loudness" in state:
        samples = set_loudness(samples, state["sample_rate"], state["loudness"], state["level"])
    waveform = np.zeros(num_samples, dtype=np.int16)
    waveform[: len(samples)] = np.clip(np.rint(samples * 32768), -32768, 32767).astype(np.int16)
    return {"waveform": waveform, "length": np.array(len(samples), dtype=np.int64)}


def choose_channel(samples: np.ndarray, mono: str) -> np.ndarray:
    """Return one channel [S] of several [S, channels]: their mean, the left or the right one."""
    if mono == "mean":
        return np.asarray(samples.mean(axis=1))
    return samples[:, 0 if mono == "left" else min(1, samples.shape[1] - 1)]


def trim_silence(samples: np.ndarray, rate: int, trim_db: float) -> np.ndarray:
    """Cut off both ends that are quieter than the loudest 20 ms by some decibels."""
    frame = max(1, rate // FRAMES_PER_SECOND)
    padded = np.zeros(-(-len(samples) // frame) * frame)
    padded[: len(samples)] = samples
    energy = (padded**2).reshape(-1, frame).mean(1)
    if energy.max() == 0:
        return samples
    loud = np.flatnonzero(energy >= energy.max() * 10 ** (-trim_db / 10))
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


def set_loudness(samples: np.ndarray, rate: int, loudness: str, level: float) -> np.ndarray:
    """Bring a sound to a level, by rms in dB or by lufs, but no farther than its highest peak allows."""
    measured = measure_rms(samples) if loudness == "rms" else measure_lufs(samples, rate)
    if not math.isfinite(measured):
        return samples.astype(np.float32)
    gain = min(10 ** ((level - measured) / 20), 1 / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def measure_rms(samples: np.ndarray) -> float:
    """Return the root mean square in dB of full scale."""
    energy = float((samples.astype(np.float64) ** 2).mean()) if len(samples) else 0.0
    return 10 * math.log10(energy) if energy > 0 else -math.inf


def measure_lufs(samples: np.ndarray, rate: int) -> float:
    """Return the integrated loudness (ITU-R BS.1770-4), with K-weighting that shifts no phase."""
    block, hop = max(1, round(BLOCK * rate)), max(1, round(HOP * rate))
    spectrum = np.fft.rfft(samples.astype(np.float64), len(samples) + block)  # zeros keep both ends apart
    weighted = np.fft.irfft(spectrum * weigh_frequencies(len(spectrum), rate), len(samples) + block)[: len(samples)]
    energy = np.concatenate([[0.0], np.cumsum(weighted**2)])
    block = min(block, len(samples))
    starts = np.arange(0, len(samples) - block + 1, hop)
    energies = (energy[starts + block] - energy[starts]) / block
    energies = energies[energies > 10 ** ((ABSOLUTE_GATE - OFFSET) / 10)]
    if len(energies) == 0:
        return -math.inf
    energies = energies[energies > energies.mean() * 10 ** (RELATIVE_GATE / 10)]
    return OFFSET + 10 * math.log10(energies.mean())


def weigh_frequencies(num_bins: int, rate: int) -> np.ndarray:
    """Return the magnitude of the two K-weighting filters from 0 Hz to half the rate."""
    z = np.exp(-1j * np.linspace(0, np.pi, num_bins))
    k = math.tan(math.pi * 1681.974450955533 / rate)  # a shelf of 4 dB above 1.7 kHz: the head
    gain, q = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    middle = gain**0.4996667741545416
    shelf = (gain + middle * k / q + k * k) + 2 * (k * k - gain) * z + (gain - middle * k / q + k * k) * z**2
    shelf = shelf / ((1 + k / q + k * k) + 2 * (k * k - 1) * z + (1 - k / q + k * k) * z**2)
    k = math.tan(math.pi * 38.13547087602444 / rate)  # a high pass at 38 Hz
    q = 0.5003270373238773
    first, middle, last = 1 + k / q + k * k, 2 * (k * k - 1), 1 - k / q + k * k
    high_pass = (1 - 2 * z + z**2) / (1 + middle / first * z + last / first * z**2)
    magnitude: np.ndarray = np.abs(shelf * high_pass)
    return magnitude


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Resample by a windowed sinc, as scipy.signal.resample_poly does: float32 [S] -> [S * target_rate / rate]."""
    divisor = math.gcd(rate, target_rate)
    up, down = target_rate // divisor, rate // divisor
    half = 10 * max(up, down)
    taps = np.arange(-half, half + 1)
    kernel = np.sinc(taps / max(up, down)) * np.kaiser(2 * half + 1, 5.0)
    kernel = (kernel / kernel.sum()).astype(np.float32) * np.float32(up)
    centres = np.arange(-(-len(samples) * up // down)) * down + half  # in the upsampled signal, which starts at `half`
    newest = centres // up  # the last sample that the kernel covers
    resampled = np.zeros(len(centres), dtype=np.float32)
    for age in range(len(kernel) // up, -1, -1):  # oldest first, one sample of all outputs at a time
        index, tap = newest - age, centres - (newest - age) * up
        is_inside = (index >= 0) & (index < len(samples)) & (tap < len(kernel))
        product = samples[np.clip(index, 0, len(samples) - 1)] * kernel[np.minimum(tap, len(kernel) - 1)]
        resampled += np.where(is_inside, product, np.float32(0))
    return resampled


# ---------------------------------------------------------------------------------------------------- texts and series


def build_text_decoder(state: State) -> Callable[[object, State, Files], Parts]:
    """Return a function that splits a text, or a .txt file, into tokens."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(state["tokenizer"])
    tokenizer.enable_truncation(state["max_tokens"])
    pad_id = state["pad_id"]
    tokenizer.enable_padding(length=state["max_tokens"], pad_id=pad_id, pad_token=tokenizer.id_to_token(pad_id))

    def decode_tokens(cell: object, state: State, files: Files) -> Parts:
        text = str(cell)
        if files.is_text_file(text):
            text = decode_text(files.find(text).read_bytes())
        encoded = tokenizer.encode(text)
        return {"ids": np.array(encoded.ids, dtype=np.int32), "mask": np.array(encoded.attention_mask, dtype=bool)}

    return decode_tokens


def decode_series(cell: object, state: State, files: Files) -> Parts:
    """Decode a list of numbers, or a .npy file, to standardised values [C, T] and a mask [T] of the real steps."""
    if isinstance(cell, str) and cell.lower().endswith((".csv", ".tsv")):
        series = read_steps(files.find(cell)).T
    else:
        series = read_series(cell, files)
        series = series.T if series.ndim == 2 and state["layout"] in ("time_first", "channels_last") else series
    series = series[None] if series.ndim == 1 else series
    num_channels, num_steps = len(state["mean"]), state["num_steps"]
    if "resample" in state:
        places, steps = np.linspace(0, series.shape[1] - 1, num_steps), np.arange(series.shape[1])
        series = np.stack([np.interp(places, steps, channel) for channel in series])
    series = series[:, :num_steps]
    if len(series) != num_channels:
        raise BadRowError(f"has {len(series)} channels, not {num_channels}")
    values = np.zeros((num_channels, num_steps), dtype=np.float32)
    standardised = standardise_series(series, state)
    values[:, : series.shape[1]] = np.nan_to_num(standardised, nan=0.0, posinf=0.0, neginf=0.0)
    return {"values": values, "mask": np.arange(num_steps) < series.shape[1]}


def standardise_series(series: np.ndarray, state: State) -> np.ndarray:  # [C, T]
    """Standardise by the training rows, or by the finite steps of the row itself; a constant channel becomes 0."""
    scale = state.get("scale", "channel")
    if scale == "none":
        return series
    mean, deviation = np.array(state["mean"]), np.array(state["deviation"])
    if scale == "row":
        series = series.astype(np.float64)
        is_finite = np.isfinite(series)
        count = np.maximum(is_finite.sum(axis=1), 1)
        mean = np.where(is_finite, series, 0.0).sum(axis=1) / count
        deviation = np.sqrt((np.where(is_finite, series - mean[:, None], 0.0) ** 2).sum(axis=1) / count)
        deviation = np.where(deviation > MIN_RELATIVE_DEVIATION * np.abs(mean), deviation, 0.0)
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 0)
    return np.asarray((series - mean[:, None]) * factor[:, None])


def read_series(cell: object, files: Files) -> np.ndarray:
    """Return the numbers of a list, of a text such as "0.1 0.2", or of a .npy file, [T] or two axes."""
    if not isinstance(cell, str):
        return np.asarray(cell).astype(np.float32)
    if cell.lower().endswith(".npy"):
        return np.asarray(np.load(files.find(cell), allow_pickle=False))
    numbers = parse_series(cell)
    return np.asarray(json.loads(cell) if numbers is None else numbers).astype(np.float32)


def parse_series(text: str) -> list[float] | None:
    """Return the numbers of a text, between commas, semicolons or spaces; None if a part is no number."""
    body = text.strip()
    if body[:1] + body[-1:] in ("[]", "()", "{}"):
        body = body[1:-1].strip()
    if ";" in body:
        parts = [part.replace(",", ".") for part in body.rstrip(";").split(";")]
    elif re.search(r",\s|^[^\s]*$", body):
        parts = re.split(r"\s*,\s*", body)
    else:
        parts = [part.replace(",", ".") for part in body.split()]
    try:
        return [read_number("a step", part) for part in parts] if all(part.strip() for part in parts) else None
    except BadRowError:
        return None


def read_steps(file: Path) -> np.ndarray:
    """Return the steps of a text file, one per line, perhaps below a header, [T, C]."""
    lines = [line.strip() for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines()]
    rows = [re.split(r"[,;\t ]+", line) for line in lines if line]
    try:
        [read_number(file.name, cell) for cell in rows[0]]
    except BadRowError:
        rows = rows[1:]
    return np.array([[read_number(file.name, cell) for cell in row] for row in rows])


# --------------------------------------------------------------------------------------------------------------- cells


def decode_cells(cells: Cells, state: State) -> Parts:
    """Decode numbers, transformed and 0 where missing, and categories, 0 where no training row has them."""
    options = state.get("transforms", {})
    numbers = []
    for name, (center, scale) in state["numeric"].items():
        number = read_number(name, cells[name])
        transformed = transform_number(number, center, scale, options.get(name, {}))
        if abs(transformed) > MAX_DEVIATIONS:
            raise BadRowError(f"'{name}' is {number:g}, but {center:.4g} on average in the training rows")
        numbers.append(transformed)
    missing = np.isnan(numbers)
    numeric = np.nan_to_num(np.array(numbers, dtype=np.float64), nan=0.0).astype(np.float32)
    categories = []
    for name, numbered in state["categories"].items():
        categories.append(numbered.get(normalize_category(cells[name]), 0))
    encoded = encode_categories(categories, state)
    if encoded is not None:
        numeric = np.concatenate([numeric, encoded])
        missing = np.concatenate([missing, np.zeros(len(encoded), dtype=bool)])
        categories = []
    return {"numeric": numeric, "missing": missing, "categorical": np.array(categories, dtype=np.int64)}


def transform_number(number: float, center: float, scale: float, options: State) -> float:
    """Fill a missing number, then take the logarithm, clip and scale, as far as each is on."""
    if math.isnan(number):
        number = options.get("fill", number)
    if options.get("log"):
        number = np.sign(number) * np.log1p(np.abs(number))
    if "limits" in options:
        number = np.clip(number, *options["limits"])
    if "quantiles" in options:
        number = np.interp(number, *options["quantiles"])
    return float((number - center) / scale if scale > 0 else number * 0.0)


def encode_categories(categories: Sequence[int], state: State) -> np.ndarray | None:
    """Return categories as numbers, float32, where the run was trained on these; else None."""
    encoding = state.get("encode", "embedding")
    if encoding == "embedding":
        return None
    encoded: list[float] = []
    for category, (name, numbered) in zip(categories, state["categories"].items(), strict=True):
        if encoding == "frequency":
            encoded.append(state["frequencies"][name][category])
        else:
            encoded += [float(number == category) for number in range(1, max(numbered.values(), default=0) + 1)]
    return np.array(encoded, dtype=np.float32)


def read_number(name: str, cell: object) -> float:
    """Return a cell as a number, NaN where it is missing."""
    if cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING_NUMBERS):
        return math.nan
    try:
        if isinstance(cell, str) and "_" in cell:  # Python reads 2024_01 as 202401
            raise ValueError
        number = float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise BadRowError(f"'{name}' is {cell!r}, but it is a number in all training rows") from None
    return number if math.isfinite(number) else math.nan


def normalize_category(cell: object) -> str:
    """Return a cell as a category: true, 7 for 7.0, text without outer spaces; "" where it is missing."""
    if cell is None or isinstance(cell, bool):
        return "" if cell is None else str(cell).lower()
    text = unicodedata.normalize("NFC", str(cell)).strip()
    whole_number = re.fullmatch(r"([+-]?\d+)\.0+", text)
    return whole_number[1] if whole_number else text


# --------------------------------------------------------------------------------------------------------------- model


class Decoder:
    """Decodes the rows of a file to the inputs of the model."""

    def __init__(self, modalities: Mapping[str, Any], files: Files) -> None:
        self.modalities, self.files = modalities, files
        self.decode_by_kind = {"image": decode_image, "audio": decode_audio, "series": decode_series}
        self.decode_text = {}
        for modality, spec in modalities.items():
            if spec["kind"] == "text":
                self.decode_text[modality] = build_text_decoder(spec["state"])

    def decode(self, rows: Sequence[Row]) -> dict[str, np.ndarray]:
        """Return the inputs of some rows by name."""
        inputs: dict[str, np.ndarray] = {}
        present: dict[str, np.ndarray] = {}
        for modality, spec in self.modalities.items():
            decoded = [self._decode_row(modality, row) for row in rows]
            for part, blank in spec["parts"].items():
                name = f"{modality}.{part}" if part else modality
                zeros = np.zeros(blank["shape"], dtype=blank["dtype"])
                inputs[name] = np.stack([zeros if parts is None else parts[part] for parts in decoded])
            present[f"present.{modality}"] = np.array([parts is not None for parts in decoded])
        if not np.any(list(present.values()), axis=0).all():
            row = int(np.argmin(np.any(list(present.values()), axis=0)))
            raise BadRowError(f"{rows[row].place}: {', '.join(self.modalities)}: all are empty")
        return inputs | present

    def _decode_row(self, modality: str, row: Row) -> Parts | None:
        """Return the parts of a modality; None where it is missing."""
        spec = self.modalities[modality]
        cells = {column: row.cells.get(column) for column in spec["columns"]}
        if all(cell is None for cell in cells.values()):
            return None
        try:
            if spec["kind"] == "tabular":
                return decode_cells(cells, spec["state"])
            decode = self.decode_text.get(modality) or self.decode_by_kind[spec["kind"]]
            return decode(next(iter(cells.values())), spec["state"], self.files)
        except Exception as error:  # libraries that decode raise many classes
            raise BadRowError(f"{row.place}: {modality}: {error}") from None


def check_columns(modalities: Mapping[str, Any], columns: Iterable[str], file: Path) -> None:
    """Refuse a file without any modality, or with only some columns of one; say which modalities it lacks."""
    columns, lacking = set(columns), []
    for modality, spec in modalities.items():
        missing = [column for column in spec["columns"] if column not in columns]
        if missing and len(missing) < len(spec["columns"]):
            raise SystemExit(f"{file}: has only some of the columns of '{modality}', not {', '.join(missing)}")
        lacking += [modality] if missing else []
    if len(lacking) == len(modalities):
        raise SystemExit(f"{file}: has none of the columns of {', '.join(modalities)}")
    for modality in lacking:
        print(f"note: {file} has no {modality}: predicted without it", file=sys.stderr)


def name_outputs(tasks: Mapping[str, Any], outputs: Mapping[str, np.ndarray]) -> dict[str, list[Any]]:
    """Return the columns of the predictions: each target, and the probability of each class or label."""
    columns: dict[str, list[Any]] = {}
    for task, spec in tasks.items():
        scores, names = outputs[f"scores.{task}"], spec["names"]
        if spec["kind"] == "regression":
            columns.update(zip(names, scores.T.tolist(), strict=True))
            continue
        if spec["kind"] == "multilabel":
            columns[task] = ["|".join(np.array(names, dtype=object)[row >= 0.5]) for row in scores]
        else:
            columns[task] = [names[number] for number in scores.argmax(1)]
        columns.update(zip([f"{task}={name}" for name in names], scores.T.tolist(), strict=True))
    return columns


def format_cell(cell: object) -> object:
    """Return a cell of a CSV file: nine digits of a number; an apostrophe before what would be a formula."""
    if isinstance(cell, float):
        return f"{cell:.9g}"
    if not str(cell).startswith(FORMULA_STARTS):
        return cell
    try:
        float(str(cell))
    except ValueError:
        return f"'{cell}"
    return cell


def predict(folder: Path, file: Path, root: Path, output: Any) -> None:
    """Predict the rows of a file, and write them as CSV."""
    import onnxruntime

    settings = json.loads((folder / "preprocess.json").read_text(encoding="utf-8"))
    modalities, id_column = settings["modalities"], settings["id"]
    rows = list(read_rows(file, settings["encoding"]))
    if not rows:
        raise SystemExit(f"{file}: has no rows")
    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row.cells))
    check_columns(modalities, columns, file)
    decoder = Decoder(modalities, Files(root, settings["allow_outside"]))
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    read_by_model = {value.name for value in session.get_inputs()}
    writer = csv.writer(output, lineterminator="\n")
    for start in range(0, len(rows), BATCH_SIZE):
        batch = rows[start : start + BATCH_SIZE]
        inputs = {name: array for name, array in decoder.decode(batch).items() if name in read_by_model}
        outputs = dict(zip(names, session.run(names, inputs), strict=True))
        ids = [row.place if row.cells.get(id_column) is None else str(row.cells[id_column]) for row in batch]
        predictions = {"id": ids} | name_outputs(settings["tasks"], outputs)
        if start == 0:
            writer.writerow(map(format_cell, predictions))
        writer.writerows(map(format_cell, cells) for cells in zip(*predictions.values(), strict=True))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Predict the rows of a CSV or JSON Lines file with model.onnx.")
    parser.add_argument("file", type=Path, metavar="ROWS")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a CSV file (default: stdout)")
    parser.add_argument("--root", type=Path, help="folder that file names are relative to (default: that of ROWS)")
    args = parser.parse_args()
    root = args.file.parent if args.root is None else args.root
    if not args.file.is_file():
        raise SystemExit(f"{args.file}: no such file")
    try:
        if args.output is None:
            predict(Path(__file__).parent, args.file, root, sys.stdout)
        else:
            write_atomically(args.output, lambda stream: predict(Path(__file__).parent, args.file, root, stream))
    except BadRowError as error:
        raise SystemExit(str(error)) from None
    except (csv.Error, ValueError, OSError) as error:
        raise SystemExit(f"{args.file}: {error}") from None


def write_atomically(output: Path, write: Callable[[Any], None]) -> None:
    """Write a file under another name first, so that an older one stays as it is if a row cannot be read."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            write(stream)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
