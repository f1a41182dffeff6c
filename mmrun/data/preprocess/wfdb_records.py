"""Reads WFDB records, the format of PhysioNet: a header `NAME.hea`, and the signal files beside it that it names."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmrun.data.limits import MAX_VALUES, read_text
from mmrun.errors import DataError

BITS = {"16": 16, "61": 16, "80": 8, "160": 16, "24": 24, "32": 32, "212": 12}  # of a sample, by format
DEFAULT_RATE = 250.0  # Hz
DEFAULT_GAIN = 200.0  # digital units per physical unit
MAX_SIGNALS = 1024


class Signal(NamedTuple):
    """One line of a header.

    Attributes:
        file: name of the file that holds it, beside the header.
        format: of the samples, a key of BITS.
        offset: bytes before the first sample.
        gain: digital units per physical unit.
        baseline: digital value of 0 physical units.
    """

    file: str
    format: str
    offset: int
    gain: float
    baseline: float


class Header(NamedTuple):
    """What a header says.

    Attributes:
        rate: Hz.
        num_steps: of each signal; 0: as many as the files hold.
        signals: in their order.
    """

    rate: float
    num_steps: int
    signals: list[Signal]


def read_record(path: Path) -> np.ndarray:
    """Read the signals of a record in physical units.

    Args:
        path: of the header.

    Returns:
        [steps, signals] float32, NaN where a sample is marked as invalid.

    Raises:
        DataError: a file is missing, damaged, or of a format that is not read.
    """
    header = _read_header(path)
    columns = []
    for file in dict.fromkeys(signal.file for signal in header.signals):
        signals = [signal for signal in header.signals if signal.file == file]
        columns.append(_read_signals(path, signals, header.num_steps))
    steps = min(len(column) for column in columns)
    return np.concatenate([column[:steps] for column in columns], axis=1)


def read_record_rate(path: Path) -> float:
    """Return the sampling rate of a record, in Hz.

    Args:
        path: of the header.

    Raises:
        DataError: the header is damaged.
    """
    return _read_header(path).rate


def list_signal_files(path: Path) -> list[str]:
    """Return the names of the files that hold the signals of a record.

    Args:
        path: of the header.

    Raises:
        DataError: the header is damaged, or names a file in another folder.
    """
    return list(dict.fromkeys(signal.file for signal in _read_header(path).signals))


def _read_header(path: Path) -> Header:
    lines = read_text(path).decode("utf-8", "replace").splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]  # comments may name the patient
    try:
        name, num_signals, *rest = lines[0].split()
        count = int(num_signals)
        rate = float(re.split(r"[/(]", rest[0])[0]) if rest else DEFAULT_RATE
        num_steps = int(rest[1]) if len(rest) > 1 else 0
        signals = [_parse_signal(line) for line in lines[1 : count + 1]]
    except (ValueError, IndexError):
        raise DataError(f"{path.name} is damaged or not the header of a WFDB record; download it again") from None
    if "/" in name:
        raise DataError(f"{path.name} is a record of several segments, which is not read; name the segments' headers")
    if not 0 < count <= MAX_SIGNALS or len(signals) != count or rate <= 0 or num_steps < 0:
        raise DataError(f"{path.name} is damaged: it lacks some of the {count} signals; download it again")
    if num_steps * count > MAX_VALUES:
        raise DataError(
            f"{path.name} claims {num_steps * count:,} values; more than {MAX_VALUES / 1e6:.0f} million are refused"
        )
    for signal in signals:
        if signal.format not in BITS:
            raise DataError(
                f"{path.name} has signals of format {signal.format[:20]!r}, which is not read (only "
                f"{', '.join(BITS)}); convert it with WFDB's xform, or to .npy"
            )
        if not re.fullmatch(r"[\w-][\w.-]*", signal.file):
            raise DataError(f"{path.name} names a signal file in another folder; put all files of a record together")
    return Header(rate, num_steps, signals)


def _parse_signal(line: str) -> Signal:
    """Parse `FILE FORMAT[+OFFSET] [GAIN[(BASELINE)][/UNITS] [RESOLUTION [ZERO ...]]]`."""
    file, format_and_offset, *rest = line.split()
    number_format, _, offset = format_and_offset.partition("+")
    gain = re.match(r"([-+.\deE]+)(?:\(([-+\d]+)\))?", rest[0]) if rest else None
    zero = float(rest[2]) if len(rest) > 2 else 0.0
    baseline = zero if gain is None or gain[2] is None else float(gain[2])
    scale = DEFAULT_GAIN if gain is None else float(gain[1])
    return Signal(file, number_format, int(offset or 0), scale or DEFAULT_GAIN, baseline)


def _read_signals(path: Path, signals: list[Signal], num_steps: int) -> np.ndarray:
    """Read the signals that lie in one file, a step after the other."""
    file = path.with_name(signals[0].file)
    if len({(signal.format, signal.offset) for signal in signals}) > 1:
        raise DataError(f"{path.name} mixes formats in {file.name}, which is not read; convert it to .npy")
    bits = BITS[signals[0].format]
    num_bytes = -(-num_steps * len(signals) * bits // 8)
    try:
        with file.open("rb") as stream:
            stream.seek(signals[0].offset)
            content = stream.read(num_bytes or MAX_VALUES)
    except OSError:
        raise DataError(f"{file.name}, which {path.name} names, does not exist; put it beside the header") from None
    if len(content) < num_bytes:
        raise DataError(f"{file.name} is cut off: {path.name} says {num_steps:,} steps; download it again")
    samples = _unpack(content, signals[0].format)
    steps = num_steps or len(samples) // len(signals)
    digital = samples[: steps * len(signals)].reshape(steps, len(signals))
    gain, baseline = np.array([(signal.gain, signal.baseline) for signal in signals]).T
    is_invalid = digital == -(1 << (bits - 1))
    return np.where(is_invalid, np.nan, (digital - baseline) / gain).astype(np.float32)


def _unpack(content: bytes, number_format: str) -> np.ndarray:
    """Return the samples in the bytes of a signal file."""
    if number_format == "212":
        return _unpack_pairs(content)
    if number_format == "24":
        triples = np.frombuffer(content[: len(content) // 3 * 3], dtype=np.uint8).reshape(-1, 3)
        whole = np.zeros((len(triples), 4), dtype=np.uint8)
        whole[:, 1:] = triples
        shifted: np.ndarray = whole.view("<i4")[:, 0] >> 8
        return shifted
    kind = np.dtype({"16": "<i2", "61": ">i2", "160": "<u2", "80": "u1", "32": "<i4"}[number_format])
    samples = np.frombuffer(content[: len(content) // kind.itemsize * kind.itemsize], dtype=kind)
    offset = {"80": 1 << 7, "160": 1 << 15}.get(number_format, 0)
    return samples.astype(np.int64) - offset


def _unpack_pairs(content: bytes) -> np.ndarray:
    """Return the samples of format 212: two of 12 bits in three bytes."""
    padded = content + bytes(-len(content) % 3)
    low, middle, high = np.frombuffer(padded, dtype=np.uint8).reshape(-1, 3).astype(np.int16).T
    pairs = np.stack([low | (middle & 0x0F) << 8, high | (middle & 0xF0) << 4], axis=1).ravel()
    return np.where(pairs > 2047, pairs - 4096, pairs)[: len(content) * 2 // 3]
