"""Chooses how the cells of each column are read, from the first rows, and reads them: numbers, dates, yes and no."""

import shlex
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import numpy as np

from mmrun.data.packed import PackedValues
from mmrun.data.sheets.chunks import SAMPLE_ROWS
from mmrun.data.sheets.formats import (
    DateFormat,
    DateOrder,
    NumberFormat,
    WordFormat,
    date_features,
    infer_date_format,
    infer_number_format,
    infer_usual_format,
    infer_word_format,
    is_ambiguous,
    leaves_order_open,
    parse_date,
    split_number,
    uses_decimal_comma,
)
from mmrun.data.sheets.numbers import is_missing_mark, parse_numbers
from mmrun.data.sheets.sheet import Reading, Sheet
from mmrun.errors import ConfigError, DataError, nearest

READINGS = ("number", "decimal_comma", "date", "day_first", "month_first", "text", "category")
MIN_SHARE = 0.9  # of the first cells, from which the others look like mistakes
MIN_CELLS = 10  # for such a warning


def infer_readings(sheet: Sheet, requested: Mapping[str, str] | None, raw: Container[str | None]) -> dict[str, Reading]:
    """Choose how columns are read.

    Args:
        sheet: the file; its first rows decide.
        requested: one of READINGS by column.
        raw: columns that are left as they are written.

    Returns:
        By column; those that are not listed are read as they are written.

    Raises:
        ConfigError: a column or a reading does not exist.
    """
    requested = requested or {}
    for name, choice in requested.items():
        if name not in sheet.columns:
            raise ConfigError(
                f"dataset.read: {sheet.name} has no column '{name}'{nearest(name, sheet.columns)} "
                f"(it has {', '.join(sheet.columns)})"
            )
        if choice not in READINGS:
            raise ConfigError(f"dataset.read.{name}: '{choice}'; choose one of {', '.join(READINGS)}")
    readings: dict[str, Reading] = {}
    heads = {name: column.head(SAMPLE_ROWS) for name, column in sheet.columns.items()}
    plain = {name for name, head in heads.items() if parse_numbers(head) is not None}
    # One column that shows it decides for all columns: then a point is no decimal sign
    has_decimal_comma = any(uses_decimal_comma(_list_texts(heads[name])) for name in heads if name not in plain)
    for name, head in heads.items():
        if name in requested:
            readings[name] = _build_requested(name, _list_texts(head), requested[name])
        elif name not in raw and (name not in plain or has_decimal_comma):
            reading = _infer_reading(name, head, sheet, name in plain, has_decimal_comma)
            if reading is not None:
                readings[name] = reading
    return readings


def select_readings(readings: Mapping[str, Reading], columns: Iterable[str]) -> dict[str, Reading]:
    """Return the readings of the columns that are used.

    Args:
        readings: by column.
        columns: names of those that are used.

    Raises:
        ConfigError: how one of them is read has to be set.
    """
    selected = {name: readings[name] for name in columns if name in readings}
    for reading in selected.values():
        if reading.error:
            raise ConfigError(reading.error)
    return selected


def apply_readings(sheet: Sheet, readings: Mapping[str, Reading]) -> Sheet:
    """Read columns as chosen.

    Args:
        sheet: the file, or its first rows.
        readings: by column; columns that the file does not have are ignored.

    Returns:
        A sheet in which numbers are floats and dates days since 1970, with what encoders read of dates in
        `date_features`. Rows with a cell that cannot be read so are listed in its `problems`.
    """
    columns, features, problems = dict(sheet.columns), {}, dict(sheet.problems)
    for name, reading in readings.items():
        if reading.format is None or name not in columns:
            continue
        columns[name], bad_rows = _parse_column(columns[name], reading.format)
        for row, reason in bad_rows.items():
            problems.setdefault(row, f"column '{name}': {reason}; correct it, or set {_option(name, 'text')}")
        if isinstance(reading.format, DateFormat):
            features[name] = _split_dates(name, columns[name], reading.format)
    return replace(sheet, columns=columns, problems=problems, readings=dict(readings), date_features=features)


def _parse_column(
    cells: PackedValues[object], format: NumberFormat | DateFormat | WordFormat
) -> tuple[PackedValues[object], dict[int, str]]:
    """Parse each different cell once; return the values, and why rows could not be read."""
    problems: dict[str, str] = {}  # by text of the cell, which may be a list

    def parse(cell: object) -> object:
        try:
            return None if cell is None else format.parse(cell)
        except DataError as error:
            problems[repr(cell)] = str(error)
            return None

    values = PackedValues[object](cells.map(parse).tolist())
    if not problems:
        return values, {}
    bad_rows = np.flatnonzero(cells.map(lambda cell: repr(cell) in problems).astype(bool))
    return values, {row: problems[repr(cells[row])] for row in bad_rows.tolist()}


def _split_dates(name: str, days: PackedValues[object], format: DateFormat) -> dict[str, PackedValues[object]]:
    """Return what an encoder reads of dates, by name: when.year, when.month_sin ..."""
    rows = days.map(lambda day: tuple(date_features(cast(float | None, day), format).values()))
    values = zip(*rows.tolist(), strict=True)
    names = date_features(None, format)
    return {f"{name}.{feature}": PackedValues(column) for feature, column in zip(names, values, strict=True)}


# --------------------------------------------------------------------------------------------------------- one column


def _build_requested(name: str, cells: Sequence[str], requested: str) -> Reading:
    """Return the reading that the user set."""
    if requested in ("text", "category"):
        return Reading(requested, None)
    if requested in ("number", "decimal_comma"):
        usual = infer_usual_format(cells)
        return Reading("number", NumberFormat(",", usual.unit) if requested == "decimal_comma" else usual)
    order = cast(DateOrder, requested) if requested != "date" else None
    if order is None and leaves_order_open(cells):
        raise ConfigError(_describe_open_order(name, cells))
    orders: list[DateOrder | None] = [order] if order else [None, "day_first", "month_first"]
    dates = {candidate: _select_dates(cells, candidate) for candidate in orders}
    best = max(orders, key=lambda candidate: len(dates[candidate]))
    return Reading("date", infer_date_format(dates[best], best) if dates[best] else DateFormat(best, True, False))


def _select_dates(cells: Sequence[str], order: DateOrder | None) -> list[str]:
    return [cell for cell in cells if parse_date(cell, order) is not None]


def _infer_reading(
    name: str, head: PackedValues[object], sheet: Sheet, is_plain: bool, has_decimal_comma: bool
) -> Reading | None:
    """Return the reading of a column that is not written plainly, or whose points may separate thousands."""
    texts = _list_texts(head)
    if is_plain:
        is_number = not is_ambiguous(texts, ".")
        return None if is_number else _describe_numbers(name, texts, NumberFormat(",", ""), has_decimal_comma)
    if not texts:
        return None
    if word_format := infer_word_format(texts):
        return Reading("category", word_format, f"column '{name}': read as {word_format}; {_keep_as_text(name)}")
    if number_format := infer_number_format(texts):
        return _describe_numbers(name, texts, number_format, has_decimal_comma)
    if leaves_order_open(texts):
        return Reading("date", None, error=_describe_open_order(name, texts))
    if date_format := infer_date_format(texts):
        return Reading("date", date_format, f"column '{name}': read as {date_format}; {_keep_as_text(name)}")
    warning = _find_exceptions(name, head, sheet)
    return Reading("", None, warning=warning) if warning else None


def _describe_numbers(name: str, texts: Sequence[str], format: NumberFormat, has_decimal_comma: bool) -> Reading:
    example = next((text for text in texts if not text.strip().isdecimal()), texts[0]).strip()
    mend = _keep_as_text(name)
    if has_decimal_comma and (is_ambiguous(texts) or is_ambiguous(texts, ".")):
        format = NumberFormat(",", format.unit)
        mend = f"as other columns have a decimal comma; else set {_option(name, 'number')}"
    elif is_ambiguous(texts):
        example = next(text for text in texts if "," in text).strip()
        mend = f"if its comma is a decimal one, set {_option(name, 'decimal_comma')}"
    elif is_ambiguous(texts, "."):
        example = next(text for text in texts if "." in text).strip()
        mend = f"if its point separates thousands, set {_option(name, 'decimal_comma')}"
    note = f"column '{name}': read as {format}, {example!r} as {format.parse(example):.10g}; {mend}"
    return Reading("number", format, note)


def _find_exceptions(name: str, head: PackedValues[object], sheet: Sheet) -> str:
    """Return a warning about a few cells among many numbers or dates, or ""."""
    cells = [(row, str(cell)) for row, cell in enumerate(head) if cell is not None and not is_missing_mark(cell)]
    if len(cells) < MIN_CELLS:
        return ""
    numbers = [cell for _, cell in cells if split_number(cell) is not None]
    if len(numbers) == len(cells):
        units = Counter(unit for cell in numbers if (unit := _unit_of(cell)) is not None)
        if len(units) > 1:
            counts = ", ".join(f"{unit or 'no unit'} ({count})" for unit, count in units.most_common(4))
            return f"column '{name}': numbers in different units, {counts}, are read as words; convert them to one unit"
    for kind, accepts in (("numbers", lambda cell: split_number(cell) is not None), ("dates", _is_date)):
        others = [(row, cell) for row, cell in cells if not accepts(cell)]
        if 0 < len(others) <= (1 - MIN_SHARE) * len(cells):
            row, cell = others[0]
            return (
                f"column '{name}': {len(cells) - len(others)} of {len(cells)} cells are {kind}, but "
                f"{sheet.locate_rows()[row]} is {cell[:40]!r}, so they are read as words; correct it, or set "
                f"{_option(name, kind.removesuffix('s'))} and dataset.on_error=skip"
            )
    return ""


def _list_texts(head: PackedValues[object]) -> list[str]:
    """Return the cells that are filled, or none if one of them is not text."""
    cells = [cell for cell in head.drop_empty() if not is_missing_mark(cell)]
    return cast(list[str], cells) if all(isinstance(cell, str) for cell in cells) else []


def _is_date(cell: str) -> bool:
    return infer_date_format([cell]) is not None


def _unit_of(cell: str) -> str | None:
    parts = split_number(cell)
    return None if parts is None else parts[1]


def _describe_open_order(name: str, cells: Sequence[str]) -> str:
    return (
        f"column '{name}': {cells[0].strip()!r} may start with the day or with the month; "
        f"set {_option(name, 'day_first')} or {_option(name, 'month_first')}"
    )


def _keep_as_text(name: str) -> str:
    return f"{_option(name, 'text')} keeps it as written"


def _option(name: str, reading: str) -> str:
    return shlex.quote(f"dataset.read.{name}={reading}")
