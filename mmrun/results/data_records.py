"""The digests of the data set that a run was trained on, as its run folder holds them."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mmrun.data.fitted import Fit
from mmrun.data.row_digests import DataRecord
from mmrun.errors import DamagedError
from mmrun.results.files import check_layout, explain_mend, open_regular, write_atomically
from mmrun.results.folder import RunFolder

MAX_BYTES = 1 << 30  # of the arrays; the digests of 268 million cells

# What reading a file raises that is not what was written
DAMAGES = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, NotImplementedError, RecursionError),
    *(zipfile.BadZipFile, zlib.error),
)


def write_data_record(folder: RunFolder, record: DataRecord) -> None:
    """Write the digests of the data set."""
    folder.path.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"fingerprint": record.fingerprint, "parts": list(record.rows), "fits": dict(record.fits)})

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, about=np.array(about), digests=np.stack(list(record.rows.values())))

    write_atomically(folder.data_file, write)


def read_data_record(folder: RunFolder) -> DataRecord | None:
    """Read the digests of the data set; None where a run did not record them.

    Raises:
        DamagedError: the file is damaged.
    """
    if not folder.data_file.exists():
        return None
    if folder.finished:
        folder.verify(folder.data_file)
    try:
        with open_regular(folder.data_file) as file, np.load(file, allow_pickle=False) as arrays:
            _check_size(arrays.zip)
            about = json.loads(str(arrays["about"]))
            check_layout(folder.data_file, about.get("fits", {}), dict[str, Fit])
            rows = dict(zip(about["parts"], arrays["digests"], strict=True))
            return DataRecord(about["fingerprint"], rows, about.get("fits", {}))
    except DAMAGES as error:
        mend = explain_mend(folder.data_file)
        raise DamagedError(f"{folder.data_file}: damaged ({error}); {mend}") from None


def _check_size(archive: zipfile.ZipFile) -> None:
    """Raise a ValueError if an archive would take too much memory: a few bytes can stand for many."""
    size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"its arrays have {size:,} bytes, more than {MAX_BYTES:,}")
