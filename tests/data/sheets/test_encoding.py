"""Which encoding a file of text has."""

import json

import pytest

from mmrun.data.sheets.table_files import read_sheet
from mmrun.errors import ConfigError, DataError

TEXT = "größe,ort\nklein,Köln\ngroß,Łódź\n"
CELLS = {"größe": ["klein", "groß"], "ort": ["Köln", "Łódź"]}


def read(path, encoding=None):
    return {name: list(cells) for name, cells in read_sheet(path, encoding=encoding).columns.items()}


def error_of(kind, path, encoding=None):
    with pytest.raises(kind) as error:
        read_sheet(path, encoding=encoding)
    return str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
@pytest.mark.parametrize("name", ["my.csv", "my.jsonl"])
def test_unicode_is_recognised(tmp_path, encoding, name):
    rows = zip(*CELLS.values(), strict=True)
    lines = [json.dumps(dict(zip(CELLS, row, strict=True)), ensure_ascii=False) for row in rows]
    text = TEXT if name == "my.csv" else "\n".join(lines)
    (tmp_path / name).write_bytes((("\ufeff" if encoding == "utf-32-le" else "") + text).encode(encoding))
    assert read(tmp_path / name) == CELLS


@pytest.mark.parametrize(
    ("encoding", "town"), [("cp1252", "Köln"), ("cp1251", "Москва"), ("cp932", "東京"), ("gb18030", "北京的天气")]
)
def test_other_encodings_are_named_in_the_error(tmp_path, encoding, town):
    path = tmp_path / "my.csv"
    path.write_bytes((f"town,x\n{town},1\n" * 5 + "x,1\n").encode(encoding))
    sheet = read_sheet(path)
    assert sheet.problems[0] == (
        f"column 'town': is not UTF-8 text; as {encoding} it reads '{town}': if that is right "
        f"set dataset.encoding={encoding}, else name another, or save it as UTF-8"
    )
    assert read(path, encoding)["town"][0] == town


def test_a_file_of_which_no_row_can_be_read_is_an_error(tmp_path):
    (tmp_path / "my.csv").write_bytes("town,x\nKöln,1\nMünchen,2\n".encode("cp1252"))
    assert error_of(DataError, tmp_path / "my.csv").startswith(
        "my.csv:2: column 'town': is not UTF-8 text; as cp1252 it reads 'Köln': if that is right set dataset.encoding="
    )


def test_the_header_has_an_encoding_too(tmp_path):
    path = tmp_path / "my.csv"
    path.write_bytes("größe,x\nKöln,1\n".encode("cp1252"))
    assert error_of(DataError, path) == (
        "my.csv:1: the header is not UTF-8 text; as cp1252 it reads 'größe': if that is right "
        "set dataset.encoding=cp1252, else name another, or save it as UTF-8"
    )
    assert read(path, "cp1252") == {"größe": ["Köln"], "x": ["1"]}


def test_a_unicode_file_is_read_as_such_whatever_the_encoding_of_others(tmp_path):
    (tmp_path / "my.csv").write_text(TEXT, "utf-8")
    assert read(tmp_path / "my.csv", "cp1252") == CELLS
    assert error_of(ConfigError, tmp_path / "my.csv", "ansi8") == (
        "dataset.encoding: 'ansi8' is no encoding that Python knows; cp1252 is one"
    )
