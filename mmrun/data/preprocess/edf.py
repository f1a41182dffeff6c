"""Reads EDF and BDF files, the format of EEG and sleep recordings; needs the extra `medical`."""

import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmrun.data.limits import MAX_SAMPLE_RATE, MAX_VALUES
from mmrun.data.subfiles import open_file, path_or_content, stat_file
from mmrun.errors import DataError
from mmrun.installation import format_pip_command

if TYPE_CHECKING:
    from edfio import Bdf, Edf

NUM_RECORDS = slice(236, 244)  # bytes of the header
BYTES_PER_VALUE = 3  # at most


def read_edf(path: Path) -> np.ndarray:
    """Read the signals of a file in physical units, without annotations.

    Args:
        path: of an .edf or .bdf file.

    Returns:
        [steps, signals] float32.

    Raises:
        DataError: the file is damaged or too large, its signals differ in their rate, or edfio is not installed.
    """
    edf = _open(path)
    try:
        signals = [signal.data.astype(np.float32) for signal in edf.signals]
        return np.stack(signals, axis=1)
    except Exception as error:  # what edfio raises depends on the damage; the text of headers must not be shown
        raise _describe_damage(path, error) from None


def read_edf_rate(path: Path) -> float:
    """Return the sampling rate of a file, in Hz.

    Args:
        path: of an .edf or .bdf file.

    Raises:
        DataError: as for `read_edf`.
    """
    return float(_open(path).signals[0].sampling_frequency)


def _open(path: Path) -> "Edf | Bdf":
    """Read the header of a file, and check what it claims."""
    try:
        from edfio import read_bdf, read_edf
    except ImportError:
        command = format_pip_command("install", "edfio")
        raise DataError(f"{path.name}: EDF files need edfio; install it with {command}") from None
    _ignore_warnings()
    if stat_file(path).size > MAX_VALUES * BYTES_PER_VALUE:
        raise DataError(f"{path.name} has more than {MAX_VALUES / 1e6:.0f} million values, which are refused; split it")
    try:
        with open_file(path) as stream:
            claimed = int(stream.read(NUM_RECORDS.stop)[NUM_RECORDS])
        content = path_or_content(path)
        edf = read_bdf(content) if path.suffix.lower() == ".bdf" else read_edf(content, lazy_load_data=True)
        rates = sorted({float(signal.sampling_frequency) for signal in edf.signals})
        num_records = edf.num_data_records
    except Exception as error:  # as above
        raise _describe_damage(path, error) from None
    if not rates or num_records == 0 or not 0 < rates[-1] <= MAX_SAMPLE_RATE:
        raise DataError(f"{path.name} holds no signal; replace it")
    if claimed > num_records:
        raise DataError(f"{path.name} is cut off: it has {num_records:,} of {claimed:,} data records; replace it")
    if len(rates) > 1:
        names = ", ".join(f"{rate:g}" for rate in rates)
        raise DataError(f"{path.name} has signals at {names} Hz; export it at one rate, or convert it to .npy")
    return edf


@cache
def _ignore_warnings() -> None:
    """Silence edfio's warnings, which quote headers."""
    warnings.filterwarnings("ignore", module="edfio")


def _describe_damage(path: Path, error: Exception) -> DataError:
    return DataError(f"{path.name} is damaged or not an EDF file ({type(error).__name__}); replace it")
