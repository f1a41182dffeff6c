"""Whether a run and its data still belong together: a result is that of the rows and files it was computed from."""

from mmrun.data.file_digests import FileDigests
from mmrun.data.row_digests import describe_changes, record_data
from mmrun.data.table import Table
from mmrun.errors import DataError
from mmrun.results.data_records import read_data_record
from mmrun.results.folder import RunFolder


def check_data(folder: RunFolder, table: Table, files: FileDigests) -> None:
    """Check that a run's data set holds what it held when the run was started.

    A run of version 0.1.0 recorded the sizes of files, not their contents: for it, these decide.

    Args:
        folder: of the run; one that was never started has nothing to compare with.
        table: its data set as it is now, with the raw columns.
        files: digests of the files that it names.

    Raises:
        DataError: the data set has changed, or its digests in the run folder are damaged.
    """
    recorded = read_fingerprint(folder)
    if recorded is None or recorded in (table.fingerprint, table.old_fingerprint):
        return
    record = read_data_record(folder)
    changes = ""
    if record is not None and record.fingerprint == recorded:
        changes = f": {describe_changes(record, record_data(table, files), table)}"
    raise DataError(
        f"{folder.path}: the data set has changed since the run was trained{changes}; "
        "restore the data it was trained on, or repeat the run with --rerun"
    )


def read_fingerprint(folder: RunFolder) -> str | None:
    """Return the fingerprint of the data that a run was trained on, or None where none was recorded.

    Args:
        folder: of the run.
    """
    if folder.finished:
        return folder.read_metrics()["dataset"]["fingerprint"]
    record = read_data_record(folder)
    return None if record is None else record.fingerprint
