"""Whether a run and its data still belong together: a result is that of the rows and files it was computed from."""

from collections.abc import Mapping

from mmrun.data.file_digests import FileDigests
from mmrun.data.fitted import Fit, compare_fits
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
    if not records_other_data(folder, table):
        return
    record = read_data_record(folder)
    changes = ""
    if record is not None and record.fingerprint == read_fingerprint(folder):
        changes = f": {describe_changes(record, record_data(table, files), table)}"
    raise DataError(
        f"{folder.path}: the data set has changed since the run was trained{changes}; "
        "restore the data it was trained on, or repeat the run with --rerun"
    )


def records_other_data(folder: RunFolder, table: Table) -> bool:
    """Return whether a run was started with another data set, or with what this one held before.

    Args:
        folder: of the run.
        table: the data set as it is now.
    """
    recorded = read_fingerprint(folder)
    return recorded is not None and recorded not in (table.fingerprint, table.old_fingerprint)


def check_fitted(folder: RunFolder, fits: Mapping[str, Fit]) -> list[str]:
    """Check that what is fitted to the training rows now is what was fitted when the run was started.

    The same rows can give another vocabulary in another version of a library.

    Args:
        folder: of the run; one that was never started has nothing to compare with.
        fits: what was fitted now, by part.

    Returns:
        A warning for each part whose numbers differ.

    Raises:
        DataError: words, categories or classes differ, or are numbered differently.
    """
    record = read_data_record(folder)
    warnings = []
    for part, recorded in ({} if record is None else record.fits).items():
        differences = compare_fits(recorded, fits.get(part, {}))
        if differences.names:
            raise DataError(
                f"{folder.path}: the same rows now give another {' and '.join(differences.names)} of {part} than "
                f"when the run was trained; use the library versions listed in {folder.environment_file}, or "
                "repeat the run with --rerun"
            )
        if differences.numbers:
            warnings.append(
                f"{folder.path}: the same rows now give another {' and '.join(differences.numbers)} of {part} than "
                "when the run was trained"
            )
    return warnings


def read_fingerprint(folder: RunFolder) -> str | None:
    """Return the fingerprint of the data that a run was trained on, or None where none was recorded.

    Args:
        folder: of the run.
    """
    if folder.finished:
        return folder.read_metrics()["dataset"]["fingerprint"]
    record = read_data_record(folder)
    return None if record is None else record.fingerprint
