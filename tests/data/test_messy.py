"""Cells as people write them: what each column is read as, or the one line that says what is wrong."""

import datetime
import json
import math

import numpy as np
import pyarrow
import pytest
import soundfile
from PIL import Image
from pyarrow import parquet

from mmrun.data.checks.audit import audit
from mmrun.data.sheets.formats import parse_date
from mmrun.data.sources.manifest import describe, manifest
from mmrun.errors import ConfigError, DataError
from tests.data.files import error_of, write


def write_column(folder, cells, count=24):
    """Write a column x of repeated cells, separated by tabs, and a label."""
    lines = [f"{cells[row % len(cells)]}\t{'ab'[row % 2]}" for row in range(count)]
    return write(folder, "\n".join(["x\tlabel", *lines]) + "\n", "my.tsv")


def read_cells(table):
    """Return the first two rows of the only modality."""
    [column] = table.columns.values()
    return column.kind, [column.values[0], column.values[1]]


@pytest.mark.parametrize(
    ("cells", "numbers", "note"),
    [
        (["1,5", "2"], [1.5, 2.0], "numbers with a decimal comma, '1,5' as 1.5"),
        (["-0,123", "1,5"], [-0.123, 1.5], "numbers with a decimal comma, '-0,123' as -0.123"),
        (["1.234,50", "7"], [1234.5, 7.0], "numbers with a decimal comma, '1.234,50' as 1234.5"),
        (["1.234.567", "2.000"], [1234567.0, 2000.0], "numbers with a decimal comma, '1.234.567' as 1234567"),
        (["1,234.50", "7"], [1234.5, 7.0], "numbers with a decimal point, '1,234.50' as 1234.5"),
        (["1 234,5", "7"], [1234.5, 7.0], "numbers with a decimal comma, '1 234,5' as 1234.5"),
        (["1'234.5", "7"], [1234.5, 7.0], 'numbers with a decimal point, "1\'234.5" as 1234.5'),
        (["$1,234.50", "$3"], [1234.5, 3.0], "numbers in $ with a decimal point, '$1,234.50' as 1234.5"),
        (["-$5", "$7"], [-5.0, 7.0], "numbers in $ with a decimal point, '-$5' as -5"),
        (["1.234,50 €", "7 €"], [1234.5, 7.0], "numbers in € with a decimal comma, '1.234,50 €' as 1234.5"),
        (["EUR 5", "EUR 7"], [5.0, 7.0], "numbers in EUR with a decimal point, 'EUR 5' as 5"),
        (["(12.50)", "7"], [-12.5, 7.0], "numbers with a decimal point, '(12.50)' as -12.5"),
        (["12.5%", "3%"], [12.5, 3.0], "numbers in % with a decimal point, '12.5%' as 12.5"),
        (["12 kg", "7 kg"], [12.0, 7.0], "numbers in kg with a decimal point, '12 kg' as 12"),
        (["37.2°C", "38°C"], [37.2, 38.0], "numbers in °C with a decimal point, '37.2°C' as 37.2"),
        (["\u22125", "7 "], [-5.0, 7.0], "numbers with a decimal point, '\u22125' as -5"),
        (["1,5", "NA"], [1.5, math.nan], "numbers with a decimal comma, '1,5' as 1.5"),
    ],
)
def test_numbers(tmp_path, cells, numbers, note):
    path = write_column(tmp_path, cells)
    table = manifest(path)
    kind, values = read_cells(table)
    assert kind == "tabular"
    assert [row["x"] for row in values] == pytest.approx(numbers, nan_ok=True)
    assert table.notes[-1] == f"column 'x': read as {note}; dataset.read.x=text keeps it as written"
    assert table.warnings == []


def test_a_comma_before_three_digits_is_said(tmp_path):
    path = write_column(tmp_path, ["1,234", "5,678"])
    assert read_cells(manifest(path))[1] == [{"x": 1234.0}, {"x": 5678.0}]
    assert manifest(path).notes[-1] == (
        "column 'x': read as numbers with a decimal point, '1,234' as 1234; "
        "if its comma is a decimal one, set dataset.read.x=decimal_comma"
    )
    table = manifest(path, read={"x": "decimal_comma"})
    assert read_cells(table)[1] == [{"x": 1.234}, {"x": 5.678}]
    assert table.fingerprint != manifest(path).fingerprint


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["2D", "3D"], "tabular"),  # names
        (["12 kg", "500 g"], "tabular"),
        (["1,2,3", "4,5,6"], "tabular"),
        (["2024_01", "2024_02"], "tabular"),
        (["10.0.0.1", "10.0.0.2"], "tabular"),
        (["31.02.2024", "30.02.2024"], "tabular"),  # no such day
        (["120/80", "130/90"], "tabular"),
        (["yes", "no"], "tabular"),
        (["31", "4"], "tabular"),
    ],
)
def test_other_cells_stay_as_they_are_written(tmp_path, cells, kind):
    assert read_cells(manifest(write_column(tmp_path, cells))) == (kind, [{"x": cells[0]}, {"x": cells[1]}])


@pytest.mark.parametrize(
    ("cells", "year", "hour", "note"),
    [
        (["31.12.2024", "01.01.2025"], 2025.0, None, "dates"),
        (["2024-12-31", "2025-01-01"], 2025.0, None, "dates"),
        (["31/12/2024", "01/01/2025"], 2025.0, None, "dates, day first"),
        (["12/31/24", "1/1/25"], 2025.0, None, "dates, month first"),
        (["Dec 31, 2024", "Jan 1, 2025"], 2025.0, None, "dates"),
        (["31 December 2024", "1 January 2025"], 2025.0, None, "dates"),
        (["2024-12-31 12:00", "2025-01-01 18:00"], 2025.0, -1.0, "dates and times"),
        (["2024-12-31T12:00:00Z", "2025-01-01T18:00:00Z"], 2025.0, -1.0, "dates and times"),
        (["12/31/2024 12:00 PM", "1/1/2025 6:00 PM"], 2025.0, -1.0, "dates and times, month first"),
    ],
)
def test_dates(tmp_path, cells, year, hour, note):
    table = manifest(write_column(tmp_path, cells))
    first = read_cells(table)[1][0]
    names = ["x.year", "x.month_sin", "x.month_cos", "x.weekday_sin", "x.weekday_cos"]
    assert list(first) == names + (["x.hour_sin", "x.hour_cos"] if hour else [])
    assert first["x.year"] == pytest.approx(year, abs=0.003)
    assert first["x.month_cos"] == pytest.approx(1.0, abs=0.001)
    assert first.get("x.hour_cos") == (None if hour is None else pytest.approx(hour))
    assert table.notes[-1] == f"column 'x': read as {note}; dataset.read.x=text keeps it as written"


@pytest.mark.parametrize(
    ("text", "date"),
    [
        ("2024-12-31T22:30:00+05:30", datetime.datetime(2024, 12, 31, 17)),
        ("31.12.2024 20:00:00 -0800", datetime.datetime(2025, 1, 1, 4)),
        ("2024-12-31 12:00:00.75 UTC", datetime.datetime(2024, 12, 31, 12, 0, 0, 750_000)),
        ("0001-01-01 00:00:00+01:00", None),
    ],
)
def test_dates_are_in_utc_to_the_microsecond(text, date):
    assert parse_date(text, None) == date


def test_times_of_day(tmp_path):
    first = read_cells(manifest(write_column(tmp_path, ["6:00", "23:59"])))[1][0]
    assert first == {"x.hour_sin": pytest.approx(1.0), "x.hour_cos": pytest.approx(0.0)}


def test_the_order_of_day_and_month_has_to_be_set_where_no_cell_shows_it(tmp_path):
    path = write_column(tmp_path, ["03/04/2024", "05/06/2024"])
    assert error_of(ConfigError, path) == (
        "column 'x': '03/04/2024' may start with the day or with the month; "
        "set dataset.read.x=day_first or dataset.read.x=month_first"
    )
    days = manifest(path, read={"x": "day_first"}).columns["tabular"].values
    months = manifest(path, read={"x": "month_first"}).columns["tabular"].values
    assert days[0]["x.year"] == pytest.approx(2024 + 93 / 365, abs=0.003)
    assert months[0]["x.year"] == pytest.approx(2024 + 63 / 365, abs=0.003)
    assert describe(path=path, read={"x": "text"}) == {"x": "text"}


def test_targets_are_numbers_too(tmp_path):
    lines = [f"word {row};{row},5 €" for row in range(500)]
    path = write(tmp_path, "\n".join(["text;label", *lines]) + "\n")
    target = manifest(path).targets["label"]
    assert (target.task, target.values[:3].tolist()) == ("regression", [0.5, 1.5, 2.5])
    assert len(manifest(path, task="classification").targets["label"].names) == 500


def test_yes_and_no_in_several_spellings(tmp_path):
    table = manifest(write_column(tmp_path, ["Yes", "no", "Y", "NO"]))
    assert read_cells(table)[1] == [{"x": "yes"}, {"x": "no"}]
    assert table.notes[-1] == "column 'x': read as yes and no; dataset.read.x=text keeps it as written"


def test_codes_are_categories_where_that_is_set(tmp_path):
    from mmrun.data.preprocess.tabular import Cells

    table = manifest(write_column(tmp_path, ["10115", "20095"]), read={"x": "category"})
    cells = Cells()
    cells.fit(table.columns["tabular"], table.rows("train"))
    assert cells.categories["x"].numbers == {"10115": 1, "20095": 2}


@pytest.mark.parametrize(
    ("cells", "warning"),
    [
        (
            ["12"] * 23 + ["old"],
            "column 'x': 23 of 24 cells are numbers, but my.tsv:25 is 'old', so they are read as words; correct it, "
            "or set dataset.read.x=number and dataset.on_error=skip",
        ),
        (
            ["2024-01-31"] * 22 + ["soon", "2024-02-31"],
            "column 'x': 22 of 24 cells are dates, but my.tsv:24 is 'soon', so they are read as words; correct it, "
            "or set dataset.read.x=date and dataset.on_error=skip",
        ),
        (
            ["12 kg"] * 20 + ["500 g"] * 4,
            "column 'x': numbers in different units, kg (20), g (4), are read as words; convert them to one unit",
        ),
    ],
)
def test_cells_that_differ_from_most_are_named(tmp_path, cells, warning):
    assert manifest(write_column(tmp_path, cells)).warnings == [warning]


@pytest.mark.parametrize(
    ("cells", "read", "message"),
    [
        (["12"] * 23 + ["old"], "number", "my.tsv:25: column 'x': 'old' is not a number; correct it, or set "),
        (
            ["12 kg"] * 23 + ["5 g"],
            "number",
            "my.tsv:25: column 'x': '5 g' is in g, but others are in kg; correct it, ",
        ),
        (["1,5"] * 23 + ["1.5.2"], "number", "my.tsv:25: column 'x': '1.5.2' is not a number with a decimal comma; "),
        (["2024-01-31"] * 23 + ["2024-02-31"], "date", "my.tsv:25: column 'x': '2024-02-31' is not a date; correct it"),
    ],
)
def test_rows_that_cannot_be_read_as_set(tmp_path, cells, read, message):
    path = write_column(tmp_path, cells)
    assert error_of(DataError, path, read={"x": read}).startswith(message)
    assert len(manifest(path, read={"x": read}, on_error="skip").skipped) == 1


def test_what_can_be_set(tmp_path):
    path = write_column(tmp_path, ["1", "2"])
    assert error_of(ConfigError, path, read={"xs": "number"}) == (
        "dataset.read: my.tsv has no column 'xs'; did you mean 'x'? (it has x, label)"
    )
    assert error_of(ConfigError, path, read={"x": "numbr"}) == (
        "dataset.read.x: 'numbr'; choose one of number, decimal_comma, date, day_first, month_first, text, category"
    )


@pytest.mark.parametrize(
    ("names", "splits", "note"),
    [
        (["train", "dev", "holdout"], ["train", "val", "test"], "read 'dev' as val, 'holdout' as test"),
        (["Train", "eval", "Test"], ["train", "val", "test"], "read 'eval' as val"),
        (["train", "valid", "eval"], ["train", "val", "test"], "read 'eval' as test"),
        (["0", "1", "2"], ["train", "val", "test"], "read '0' as train, '1' as val, '2' as test"),
        (["0", "1", "0"], ["train", "test", "train"], "read '0' as train, '1' as test"),
    ],
)
def test_names_of_splits(tmp_path, names, splits, note):
    lines = [f"word {row},{row % 2},{names[row % 3]}" for row in range(60)]
    table = manifest(write(tmp_path, "\n".join(["text,label,split", *lines]) + "\n"))
    if len(set(splits)) == 3:
        assert table.split[:3].tolist() == splits
    else:
        assert (table.split[1], len(table.rows("val"))) == ("test", 4)
        assert table.notes[-1] == "no row is in val: 4 of the training rows are drawn for it (dataset.split_seed)"
    assert f"column 'split': {note}" in table.notes


def test_a_flag_of_test_rows(tmp_path):
    lines = [f"word {row},{row % 2},{row % 5 == 0}" for row in range(60)]
    path = write(tmp_path, "\n".join(["text,label,is_test", *lines]) + "\n")
    table = manifest(path, split="is_test")
    assert table.split[0] == "test"
    assert [len(table.rows(split)) for split in ("train", "val", "test")] == [43, 5, 12]


# ------------------------------------------------------------------------------------------------------------- formats


def test_a_json_array_with_objects_inside(tmp_path):
    items = [
        {"patient": {"age": 20 + row, "town": "Rome"}, "note": f"note {row}", "label": row % 2} for row in range(12)
    ]
    table = manifest(write(tmp_path, json.dumps(items), "my.json"))
    assert table.columns["tabular"].values[1] == {"patient.age": 21, "patient.town": "Rome"}
    assert table.columns["note"].locations[2] == "my.json:3: column 'note'"
    lines = "".join(json.dumps(item) + "\n" for item in items)
    assert manifest(write(tmp_path, lines, "lines.json")).columns["tabular"].values[1] == {
        "patient.age": 21,
        "patient.town": "Rome",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "my.json:1: is not a JSON object; write an array of objects"),
        (
            '[{"a": 1}',
            "my.json: is not JSON (Expecting ',' delimiter: line 1 column 10 (char 9)); write an array of objects",
        ),
        (
            '{"a":\n 1}',
            "my.json:1: is not JSON (Expecting value: line 2 column 1 (char 6)); write one object per line, "
            "or one array of objects",
        ),
    ],
)
def test_other_json(tmp_path, text, message):
    assert error_of(DataError, write(tmp_path, text, "my.json"), target="a") == message


def test_pictures_and_sounds_in_cells_of_parquet(media):
    picture, sound = (media / "colour.png").read_bytes(), (media / "tone.wav").read_bytes()
    records = [{"photo": {"bytes": picture, "path": None}, "voice": sound, "label": row % 2} for row in range(12)]
    parquet.write_table(pyarrow.Table.from_pylist(records), media / "my.parquet")
    table = manifest(str(media / "my.parquet"))
    assert {name: column.kind for name, column in table.columns.items()} == {"photo": "image", "voice": "audio"}
    assert table.columns["photo"].values[3].read_bytes() == picture
    assert table.columns["voice"].values[3].read_bytes() == sound


@pytest.mark.parametrize("kinds", [{}, {"x": "text"}])
def test_binary_data_are_never_printed(tmp_path, kinds):
    records = [{"x": b"\x00\x01" * 999, "label": row % 2} for row in range(12)]
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "my.parquet")
    assert len(error_of(DataError, str(tmp_path / "my.parquet"), kinds=kinds)) < 120
    assert len(error_of(DataError, str(tmp_path / "my.parquet"), {"y": "label"}, target="x")) < 120


def test_dates_of_parquet(tmp_path):
    records = [{"when": datetime.datetime(2024, 12, 31, 6), "label": row % 2} for row in range(12)]
    parquet.write_table(pyarrow.Table.from_pylist(records), tmp_path / "my.parquet")
    row = manifest(str(tmp_path / "my.parquet")).columns["tabular"].values[0]
    assert (row["when.year"], row["when.hour_sin"]) == (pytest.approx(2025, abs=0.003), pytest.approx(1.0))


def test_a_page_of_remarks_before_the_table_of_an_excel_file_is_named_and_not_read(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = "Notes"
    book.active.append(["exported by Bob"])
    sheet = book.create_sheet("Patients 2024")
    for row in (["age", "label"], *([20 + row, "ab"[row % 2]] for row in range(12))):
        sheet.append(row)
    book.create_sheet("Totals").append([12])
    book.save(tmp_path / "my.xlsx")
    table = manifest(str(tmp_path / "my.xlsx"))
    assert table.columns["tabular"].values[1]["age"] == 21
    assert table.notes[0] == "my.xlsx: sheet 'Patients 2024' is read, and not 'Notes', 'Totals'"


def test_excel(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["age", "when", "note", "label"])
    for row in range(12):
        book.active.append([20 + row, datetime.datetime(2024, 12, 31, 6), f"note {row}", "ab"[row % 2]])
    book.save(tmp_path / "my.xlsx")
    table = manifest(str(tmp_path / "my.xlsx"))
    assert table.columns["tabular"].values[1]["age"] == 21
    assert table.columns["tabular"].values[1]["when.hour_sin"] == pytest.approx(1.0)
    assert table.columns["note"].values[1] == "note 1"
    assert table.columns["note"].locations[1] == "my.xlsx:3: column 'note'"
    assert error_of(DataError, write(tmp_path, "a", "no.xlsx")) == (
        "no.xlsx: is damaged or not an Excel file (BadZipFile); save it again"
    )


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("0.1 0.2 0.3", [0.1, 0.2, 0.3]),
        ("0.1, 0.2, 0.3", [0.1, 0.2, 0.3]),
        ("0.1,0.2,0.3", [0.1, 0.2, 0.3]),
        ("0.1; 0.2; 0.3", [0.1, 0.2, 0.3]),
        ("[0.1 0.2 0.3]", [0.1, 0.2, 0.3]),
        ("(0.1, 0.2, 0.3)", [0.1, 0.2, 0.3]),
        ("1 2 3 4 5 6 7 8", [1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_numbers_in_a_row_are_a_series(tmp_path, cell, numbers):
    kind, values = read_cells(manifest(write_column(tmp_path, [cell])))
    assert kind == "series"
    assert values[0].tolist() == pytest.approx(numbers)


def test_a_csv_file_is_a_series_of_one_step_per_line(tmp_path):
    from mmrun.data.preprocess.series_files import read_series

    (tmp_path / "a.csv").write_text("left,right\n1,2\n3,4\n5,6\n")
    kind, values = read_cells(manifest(write_column(tmp_path, ["a.csv"])))
    assert kind == "series"
    assert read_series(values[0]).tolist() == [[1, 3, 5], [2, 4, 6]]
    (tmp_path / "a.csv").write_text("1,2\n3\n")
    with pytest.raises(DataError, match=r"^a\.csv:2: is not a step of 2 numbers$"):
        read_series(values[0])


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_delimiters_and_encodings(tmp_path, delimiter, encoding):
    lines = [delimiter.join([f"größe {row}", f"{row}.5", "ab"[row % 2]]) for row in range(12)]
    (tmp_path / "my.csv").write_text("\n".join([delimiter.join(["note", "x", "label"]), *lines]), encoding)
    table = manifest(str(tmp_path / "my.csv"))
    assert (table.columns["note"].values[1], table.columns["tabular"].values[1]) == ("größe 1", {"x": "1.5"})


# ------------------------------------------------------------------------------------------- large files, by columns


@pytest.mark.parametrize(
    "text",
    [
        'plain,"quoted, with ""quotes""","two\nlines",4.5',
        "plain, spaced,x,NA",
        "a,b,,+1.5",
    ],
)
def test_large_files_are_read_by_columns_as_small_ones_are(tmp_path, monkeypatch, text):
    from mmrun.data.sheets import csv_rows, regular_csv
    from mmrun.data.sheets.table_files import read_sheet

    path = tmp_path / "my.csv"
    path.write_text("\n".join(["a,b,c,d", *[text] * 2000, ""]))
    monkeypatch.setattr(csv_rows, "MIN_COLUMNAR_BYTES", 1 << 40)
    by_rows = read_sheet(path)
    monkeypatch.setattr(csv_rows, "MIN_COLUMNAR_BYTES", 0)
    header = csv_rows.read_header(path, "utf-8-sig")
    assert regular_csv.read_columns(path, header, None) is not None
    by_columns = read_sheet(path)
    assert {name: list(cells) for name, cells in by_columns.columns.items()} == {
        name: list(cells) for name, cells in by_rows.columns.items()
    }
    assert np.array_equal(by_columns.lines, by_rows.lines)


@pytest.mark.parametrize(
    "text",
    [
        'a,"b"c,d,e',  # letters after the closing quote
        'a, "b, c",d,e',  # a space before a quote
        "a,b,c",  # a cell is missing
        "a,b\rc,d,e",
        'a," b",c,5"',
        "a,\udcff,c,d",
    ],
)
def test_irregular_files_are_left_to_the_reader_of_rows(tmp_path, text):
    from mmrun.data.sheets import csv_rows, regular_csv

    path = tmp_path / "my.csv"
    path.write_text("\n".join(["a,b,c,d", *[text] * 2000, ""]), "utf-8", "surrogateescape", newline="")
    header = csv_rows.read_header(path, "utf-8-sig")
    assert regular_csv.read_columns(path, header, None) is None


@pytest.mark.parametrize(
    ("price", "number", "note"),
    [
        ("361.120 €", 361120.0, "numbers in € with a decimal comma, '361.120 €' as 361120; as other columns have"),
        ("361.120", 361120.0, "numbers with a decimal comma, '361.120' as 361120; as other columns have"),
        ("361,120 €", 361.12, "numbers in € with a decimal comma, '361,120 €' as 361.12; as other columns have"),
    ],
)
def test_what_other_columns_show_decides_what_a_sign_means(tmp_path, price, number, note):
    lines = [f"{price};{row},5 kg;{'ab'[row % 2]}" for row in range(24)]
    table = manifest(write(tmp_path, "\n".join(["price;weight;label", *lines]) + "\n", "my.csv"))
    assert table.columns["tabular"].values[0] == {"price": number, "weight": 0.5}
    assert f"column 'price': read as {note} a decimal comma; else set dataset.read.price=number" in table.notes


def test_a_point_that_may_separate_thousands_is_said(tmp_path):
    table = manifest(write_column(tmp_path, ["361.120 €", "7 €"]))
    assert read_cells(table)[1] == [{"x": 361.12}, {"x": 7.0}]
    assert table.notes[-1] == (
        "column 'x': read as numbers in € with a decimal point, '361.120 €' as 361.12; "
        "if its point separates thousands, set dataset.read.x=decimal_comma"
    )


@pytest.mark.parametrize("name", ["nr", "Unnamed: 0"])
def test_row_numbers_are_left_out_and_said(tmp_path, name):
    lines = [f"{row},{row % 5}.5,{'ab'[row % 2]}" for row in range(24)]
    table = manifest(write(tmp_path, "\n".join([f"{name},weight,label", *lines]) + "\n", "my.csv"))
    assert list(table.columns["tabular"].values[1]) == ["weight"]
    assert table.notes[-1] == f"column '{name}' numbers the rows, and is left out; dataset.columns.NAME={name} reads it"


def test_a_feature_that_counts_is_read(tmp_path):
    lines = [f"{row},{'ab'[row % 2]}" for row in range(24)]
    table = manifest(write(tmp_path, "\n".join(["day,label", *lines]) + "\n", "my.csv"))
    assert list(table.columns["tabular"].values[1]) == ["day"]


def save_png(file):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (9, 9, 3)).astype(np.uint8)).save(file)


def cut_png(file):
    save_png(file)
    file.write_bytes(file.read_bytes()[:100])


def save_wav(file, samples):
    soundfile.write(file, samples, 8000)


TONE = np.sin(np.arange(8000) * 0.3)


@pytest.mark.parametrize(
    ("name", "write_file", "kind", "message"),
    [
        ("x.png", cut_png, "unreadable", "m: cells that cannot be read"),
        ("x.png", lambda file: file.write_text("<html>not found</html>"), "unreadable", "m: cells that cannot be read"),
        ("x.png", lambda file: file.write_bytes(b""), "unreadable", "rows that cannot be used"),
        ("x.png", lambda file: None, "unreadable", "rows that cannot be used"),
        ("x.png", lambda file: Image.new("L", (9, 9), 255).save(file), "blank", "m: images of one colour"),
        ("x.png", lambda file: Image.new("RGBA", (9, 9)).save(file), "blank", "m: images of one colour"),
        ("x.npy", lambda file: np.save(file, np.full((9, 9), np.nan)), "not-finite", "m: images with NaN or infinity"),
        ("x.wav", lambda file: file.write_bytes(b"RIFF"), "unreadable", "m: cells that cannot be read"),
        ("x.wav", lambda file: save_wav(file, 0 * TONE), "silent", "m: silent recordings"),
        ("x.wav", lambda file: save_wav(file, np.clip(4 * TONE, -1, 1)), "clipped", "m: clipped recordings"),
        ("x.txt", lambda file: file.write_text("---"), "empty", "m: texts without a letter or digit"),
        ("x.txt", lambda file: file.write_bytes(b"\xff\x00\xff"), "unreadable", "m: cells that cannot be read"),
    ],
)
def test_data_check_names_an_odd_file_among_good_ones(tmp_path, name, write_file, kind, message):
    suffix = "wav" if name.endswith("wav") else "png"
    rng = np.random.default_rng(0)
    for row in range(60):
        if suffix == "wav":
            save_wav(tmp_path / f"{row}.wav", 0.1 * rng.normal(size=900))
        else:
            Image.fromarray(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8)).save(tmp_path / f"{row}.png")
    kinds = {"m": "text" if name.endswith("txt") else "audio" if suffix == "wav" else "image"}
    good = [f"some text number {row}" if kinds["m"] == "text" else f"{row}.{suffix}" for row in range(60)]
    write_file(tmp_path / name)
    lines = [f"{name if row == 33 else good[row]},{'ab'[row % 2]}" for row in range(60)]
    path = write(tmp_path, "\n".join(["m,label", *lines]) + "\n")
    findings = audit(manifest(path, kinds=kinds, on_error="skip"), judges_labels=False).findings
    [finding] = [finding for finding in findings if finding.kind == kind]
    assert finding.message == message
    assert [where.split(": ")[0] for where in finding.where] == ["my.csv:35"]


def test_a_list_among_numbers_with_a_unit(tmp_path):
    items = [{"x": f"{row} kg" if row < 1100 else [row, 2], "label": row % 2} for row in range(1101)]
    path = write(tmp_path, "".join(json.dumps(item) + "\n" for item in items), "my.jsonl")
    message = "my.jsonl:1101: column 'x': '[1100, 2]' is not a number; correct it, or set dataset.read.x=text"
    assert error_of(DataError, path) == message
    assert manifest(path, on_error="skip").skipped == [message]
