"""New rows in memory: dicts, or a data frame, of what the cells of a file would be, and of pictures and arrays."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from mmrun.data.align.options import parse_alignments
from mmrun.data.align.rows import read_modality
from mmrun.data.cells import RowReader
from mmrun.data.file_resolver import FileResolver
from mmrun.data.frames import list_frames
from mmrun.data.infer import Modality
from mmrun.data.items import FrameList, ItemList
from mmrun.data.packed import PackedValues
from mmrun.data.sheets.sheet import Sheet
from mmrun.data.table import Column
from mmrun.deploy.predictor import Predictor, Rows
from mmrun.deploy.rows import SheetRows, describe_new, list_missing, name_columns, read_as_trained
from mmrun.errors import ConfigError, DataError, nearest
from mmrun.results.schema import FittedModality

Record = Mapping[str, Any]
FILES = ("image", "audio", "video", "points")  # kinds whose strings are file names
EXPECTED = {"text": "a string", "audio": "a path, or samples with their rate in Hz"}
MAX_CHANNELS = 4  # the axis of an array that has no more is that of the channels


def read_records(predictor: Predictor, records: Sequence[Record], scratch: Path) -> Rows:
    """Return rows in memory as a run reads them.

    Args:
        predictor: of the run.
        records: cells by the column of the training file, or by modality. A missing, None or NaN cell is absent. An
            image is a path, a Pillow image, or an array [H, W], [H, W, C] or [C, H, W]; a sound is a path, or samples
            [S] with their rate in Hz; a video is a path, the paths or images of its frames, or an array of uint8
            [T, H, W, C] or [T, C, H, W]; a series is an array or list; a text is a string. Where the run reads streams,
            a path names one, and the record holds its time.
        scratch: an existing folder, for Pillow images; it has to live until the rows are predicted.

    Raises:
        ConfigError: a record has a key that the run does not read, and none that it does.
        DataError: a file does not exist, or a value is of no type that its kind may have.
    """
    readable: list[str] = []
    for modality, spec in predictor.modalities.items():
        readable += dict.fromkeys([modality, *name_columns(predictor, modality, spec)])
    columns: dict[str, Column] = {}
    for number, record in enumerate(records):
        if not any(name in record for name in readable):
            given = ", ".join(map(str, record))
            close = nearest(str(next(iter(record), "")), readable)
            raise ConfigError(f"row {number}: has {given or 'nothing'}; the run reads {', '.join(readable)}{close}")
    for modality, spec in predictor.modalities.items():
        names = name_columns(predictor, modality, spec)
        if spec["kind"] == "tabular":
            columns[modality] = _read_cells(predictor, modality, names, records)
            continue
        stream_values = _read_streams(predictor, modality, names[0], spec, records)
        values = []
        for number, record in enumerate(records):
            if number in stream_values:
                values.append(stream_values[number])
            else:
                values.append(_read_value(record, modality, names, spec, scratch, number))
        columns[modality] = Column(spec["kind"], values)
    ids = [str(record.get("id", number)) for number, record in enumerate(records)]
    return Rows(ids, columns)


def read_labelled_records(predictor: Predictor, records: Sequence[Record], scratch: Path) -> SheetRows:
    """Return rows in memory with their targets.

    Args:
        predictor: of the run.
        records: as for `read_records`, with at least one target.
        scratch: as for `read_records`.

    Raises:
        ConfigError, DataError: as `read_records`.
    """
    rows = read_records(predictor, records, scratch)
    targets = [name for name in predictor.tasks if any(name in record for record in records)]
    numbers = np.arange(len(records))
    sheet = Sheet("row", {name: _pack(records, name) for name in targets}, numbers, {})
    return SheetRows(rows, sheet, numbers, [], list_missing(predictor, rows), describe_new(predictor, rows))


def _pack(records: Sequence[Record], name: str) -> PackedValues[object]:
    return PackedValues(_drop_missing(record.get(name)) for record in records)


def _read_cells(predictor: Predictor, modality: str, names: Sequence[str], records: Sequence[Record]) -> Column:
    """Return the cells of a table, read as those of the training file."""
    cells = [record.get(modality, record) for record in records]
    columns: dict[str, PackedValues[object]] = {}
    for name in names:
        columns[name] = _pack(cells, name)
    sheet = read_as_trained(predictor, Sheet("row", columns, np.arange(len(records)), {}), names)
    return Column("tabular", RowReader(sheet, "raise").read_records(names), sheet.locate_rows())


def _read_streams(
    predictor: Predictor, modality: str, name: str, spec: FittedModality, records: Sequence[Record]
) -> dict[int, object]:
    """Return what belongs to the time of each row that names a stream; other rows hold their window."""
    alignment = parse_alignments(predictor.dataset.get("align")).get(modality)
    if alignment is None:
        return {}
    streams: list[str | None] = []
    times: list[object] = []
    for number, record in enumerate(records):
        value = record.get(name, record.get(modality))
        is_stream = isinstance(value, str | Path)
        if is_stream and alignment.time not in record:
            raise DataError(f"row {number}: {name} names a stream; add '{alignment.time}', the time of the row in it")
        streams.append(str(Path(value).expanduser()) if is_stream else None)
        times.append(record[alignment.time] if is_stream else None)
    cells = {name: PackedValues[object](streams), alignment.time: PackedValues(times)}
    reader = RowReader(Sheet("row", cells, np.arange(len(records)), {}), "raise")
    files = FileResolver(Path.cwd(), allow_outside=True)
    layouts = predictor.dataset.get("layout") or {}
    read = read_modality(
        reader, modality, Modality(spec["kind"], [name], "the run"), files, {modality: alignment}, layouts
    )
    if read.warnings:
        raise DataError(read.warnings[0])
    return {number: read.values[number] for number, stream in enumerate(streams) if stream is not None}


def _read_value(
    record: Record, modality: str, names: Sequence[str], spec: FittedModality, scratch: Path, number: int | str
) -> object:
    """Return the raw value of a modality in a row; None where it is missing."""
    value = _drop_missing(record.get(names[0], record.get(modality)))
    if value is None:
        return None
    if spec["kind"] in FILES and isinstance(value, list | ItemList) and _is_item_list(value):
        items = []
        for position, item in enumerate(value):
            items.append(_read_value({modality: item}, modality, [modality], spec, scratch, f"{number}-{position}"))
        return FrameList(items) if spec["kind"] == "video" else ItemList(items)
    if isinstance(value, Image.Image):
        return _save_image(value, scratch / f"{modality}-{number}.png")
    if spec["kind"] in FILES and isinstance(value, str | Path):
        path = Path(value).expanduser()
        if spec["kind"] == "video" and path.is_dir():
            return FrameList(path / name for name in list_frames(str(path)))
        if not path.is_file():
            raise DataError(f"row {number}: {names[0]}: {path} does not exist")
        return path
    if spec["kind"] in ("image", "video"):
        return _put_channels_first(np.asarray(value))
    if spec["kind"] == "series" and not isinstance(value, Path):
        try:
            return np.asarray(value, dtype=np.float32)
        except (ValueError, TypeError):
            raise DataError(f"row {number}: {names[0]}: is not numbers; pass an array, or the Path of a file") from None
    is_sound = isinstance(value, tuple) and len(value) == 2
    if (spec["kind"] == "text" and not isinstance(value, str | Path)) or (spec["kind"] == "audio" and not is_sound):
        raise DataError(f"row {number}: {names[0]}: is of type {type(value).__name__}; pass {EXPECTED[spec['kind']]}")
    return value


def _is_item_list(value: Sequence[object]) -> bool:
    """Return whether a list holds pictures or sounds, not the numbers of one."""
    return len(value) > 0 and all(isinstance(item, str | Path | Image.Image | np.ndarray | tuple) for item in value)


def _drop_missing(cell: object) -> object:
    """Return None for a cell that is missing in the way of a data frame."""
    is_missing = isinstance(cell, float | np.floating) and np.isnan(cell)
    return None if is_missing or type(cell).__name__ in ("NAType", "NaTType") else cell


def _save_image(image: Image.Image, path: Path) -> Path:
    """Save a Pillow image as it would be shown, without loss."""
    ImageOps.exif_transpose(image).save(path)
    return path


def _put_channels_first(array: np.ndarray) -> np.ndarray:
    is_last = array.ndim in (3, 4) and array.shape[-3] > MAX_CHANNELS >= array.shape[-1]
    return np.ascontiguousarray(np.moveaxis(array, -1, -3)) if is_last else array


def list_records(rows: object) -> list[Record]:
    """Return a data frame of pandas or polars, a table of pyarrow, or a list of dicts, as a list of dicts.

    Raises:
        ConfigError: it is none of these.
    """
    for method in ("to_dicts", "to_pylist"):  # polars, pyarrow
        if hasattr(rows, method):
            return list(getattr(rows, method)())
    if hasattr(rows, "columns") and hasattr(rows, "to_dict"):  # pandas
        return list(rows.to_dict("records"))
    if isinstance(rows, Mapping):
        return [rows]
    if isinstance(rows, Sequence) and not isinstance(rows, str) and all(isinstance(row, Mapping) for row in rows):
        return list(rows)
    raise ConfigError(f"rows: {type(rows).__name__}; pass the path of a file, a list of dicts, or a data frame")
