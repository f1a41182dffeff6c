"""The digests of the data set that a run was trained on, as its run folder holds them."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mmrun.data.row_digests import DataRecord
from mmrun.errors import DamagedError
from mmrun.results.files import explain_mend, write_atomically
from mmrun.results.folder import RunFolder


def write_data_record(folder: RunFolder, record: DataRecord) -> None:
    """Write the digests of the data set.

    Args:
        folder: of a run that starts.
        record: of its data set.
    """
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
        with np.load(folder.data_file, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            rows = dict(zip(about["parts"], arrays["digests"], strict=True))
            return DataRecord(about["fingerprint"], rows, about.get("fits", {}))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        mend = explain_mend(folder.data_file)
        raise DamagedError(f"{folder.data_file}: damaged ({error}); {mend}") from None
