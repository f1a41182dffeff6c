import zipfile
from decimal import Decimal

import openpyxl
import pyarrow
import pytest
from pyarrow import parquet

from mmrun.data.preprocess.text import read_text
from mmrun.data.sheets.excel import describe_unread
from mmrun.data.sheets.table_files import read_sheet
from mmrun.errors import DataError


def read(path, encoding=None):
    return {name: list(cells) for name, cells in read_sheet(path, encoding=encoding).columns.items()}


def test_text_files_may_be_utf_16(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "note.txt").write_text("grüß dich", encoding)
        assert read_text(tmp_path / "note.txt") == "grüß dich"


def test_excel_may_name_the_delimiter(tmp_path):
    (tmp_path / "my.csv").write_text("sep=;\na;b\n1;2\n")
    assert read(tmp_path / "my.csv") == {"a": ["1"], "b": ["2"]}
    assert read_sheet(tmp_path / "my.csv").lines.tolist() == [3]


def test_a_second_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "my.csv").write_bytes(b"\xef\xbb\xbf\xef\xbb\xbfage,label\n1,a\n")
    assert read(tmp_path / "my.csv") == {"age": ["1"], "label": ["a"]}


def test_two_keys_of_one_name_are_never_one_cell(tmp_path):
    (tmp_path / "my.jsonl").write_text('{"a": {"b": 1, "c": {}}}\n{"a": {"b": 1}, "a.b": 2}\n')
    sheet = read_sheet(tmp_path / "my.jsonl")
    assert {name: list(cells) for name, cells in sheet.columns.items()} == {"a.b": [1, None], "a.c": [None, None]}
    assert sheet.problems == {1: "has two keys 'a.b', one of them inside an object; rename one"}


def test_two_columns_of_one_name_of_excel(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["age", "age ", "label"], [20, 30, "a"]):
        book.active.append(row)
    book.save(tmp_path / "my.xlsx")
    with pytest.raises(DataError, match=r"^my.xlsx:1: column 'age' occurs twice; rename one$"):
        read_sheet(tmp_path / "my.xlsx")


def test_an_excel_file_that_unpacks_to_too_much(tmp_path):
    pytest.importorskip("openpyxl")
    with zipfile.ZipFile(tmp_path / "my.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(300):
            archive.writestr(f"{number}.xml", bytes(1 << 20))
    with pytest.raises(DataError, match=r"^my.xlsx: unpacks to more than is read, 314,572,800 bytes; save it as CSV$"):
        read_sheet(tmp_path / "my.xlsx")


def test_types_of_arrow_that_csv_does_not_know(tmp_path):
    columns = {
        "count": pyarrow.array([Decimal(7), None], pyarrow.decimal128(38, 0)),
        "account": pyarrow.array([Decimal(12345678901234567891), Decimal(12345678901234567892)]),
        "price": pyarrow.array([Decimal("1.5"), Decimal("2.25")]),
        "photo": pyarrow.array([b"", b"\x89PNG"]),
        "wait": pyarrow.array([1500, None], pyarrow.duration("ms")),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "my.parquet")
    assert read(tmp_path / "my.parquet") == {
        "count": [7, None],
        "account": ["12345678901234567891", "12345678901234567892"],
        "price": [1.5, 2.25],
        "photo": [None, b"\x89PNG"],
        "wait": [1.5, None],
    }


def test_text_of_parquet_that_is_not_utf_8(tmp_path):
    content = pyarrow.array([b"\xff"] * 2000)
    text = pyarrow.Array.from_buffers(pyarrow.string(), len(content), content.buffers())
    parquet.write_table(pyarrow.table({"text": text}), tmp_path / "my.parquet")
    with pytest.raises(
        DataError, match=r"^my.parquet: is damaged or not a Parquet file \(ArrowInvalid\); write it again$"
    ):
        read_sheet(tmp_path / "my.parquet")


def test_columns_of_excel_without_a_name_are_said_to_be_left_out(tmp_path):
    workbook = openpyxl.Workbook()
    for cells in [(None, "text", None), (0, "hi", "x"), (1, "ho", "y")]:
        workbook.active.append(cells)
    workbook.save(tmp_path / "my.xlsx")
    assert describe_unread(tmp_path / "my.xlsx") == [
        "my.xlsx: 2 columns have no name, and are not read; name what holds data"
    ]
