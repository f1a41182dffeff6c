import pytest

from mmrun.data.preprocess.text import read_text
from mmrun.data.sheets.sheet import find_delimiter, read_sheet


def read(path, encoding=None):
    return {name: list(cells) for name, cells in read_sheet(path, encoding=encoding).columns.items()}


def test_text_files_may_be_utf_16(tmp_path):
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "note.txt").write_text("grüß dich", encoding)
        assert read_text(tmp_path / "note.txt") == "grüß dich"


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [
        ("a,b\n1,2\n", ","),
        ("x;y\n1,5;2,5\n3,5;4,5\n", ";"),
        ('"a, b, c";label\n1;2\n', ";"),
        ("a\tb\nx, y\tz\n", "\t"),
        ("a|b\n1|2\n", "|"),
        ("text,tags\nhi,a|b|c\nho; he,d\n", ","),
        ("text\nhi, you\n", ","),
    ],
)
def test_the_delimiter_is_what_cuts_all_lines_alike(text, delimiter):
    assert find_delimiter(text, ".csv") == delimiter


def test_excel_may_name_the_delimiter(tmp_path):
    (tmp_path / "my.csv").write_text("sep=;\na;b\n1;2\n")
    assert read(tmp_path / "my.csv") == {"a": ["1"], "b": ["2"]}
    assert read_sheet(tmp_path / "my.csv").lines.tolist() == [3]
