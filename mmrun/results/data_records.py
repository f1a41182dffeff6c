"""The digests of the data set that a run was trained on, as its run folder holds them."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np

from mmrun.data.row_digests import DataRecord
from mmrun.errors import DataError
from mmrun.results.files import write_atomically
from mmrun.results.folder import RunFolder


def write_data_record(folder: RunFolder, record: DataRecord) -> None:
    """Write the digests of the data set.

    Args:
        folder: of a run that starts.
        record: of its data set.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    about = json.dumps({"fingerprint": record.fingerprint, "parts": list(record.rows)})

    def write(path: Path) -> None:
        with path.open("wb") as file:
            np.savez_compressed(file, about=np.array(about), digests=np.stack(list(record.rows.values())))

    write_atomically(folder.data_file, write)


def read_data_record(folder: RunFolder) -> DataRecord | None:
    """Read the digests of the data set; None where a run did not record them.

    Raises:
        DataError: the file is damaged.
    """
    if not folder.data_file.exists():
        return None
    try:
        with np.load(folder.data_file, allow_pickle=False) as arrays:
            about = json.loads(str(arrays["about"]))
            return DataRecord(about["fingerprint"], dict(zip(about["parts"], arrays["digests"], strict=True)))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{folder.data_file}: damaged ({error}); put it back, or repeat the run with --rerun") from None
