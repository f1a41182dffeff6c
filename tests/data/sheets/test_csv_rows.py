import pytest

from mmrun.data.sheets.csv_rows import describe_unread, find_delimiter


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


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (",text\n0,hi\n1,ho\n", []),  # the index that pandas writes
        (",text\nAnn,hi\nBen,ho\n", ["my.csv: column 1 has no name, and is not read; name what holds data"]),
        ("text,,\nhi,1,2\n", ["my.csv: 2 columns have no name, and are not read; name what holds data"]),
    ],
)
def test_columns_without_a_name_are_said_to_be_left_out(tmp_path, text, lines):
    (tmp_path / "my.csv").write_text(text)
    assert describe_unread(tmp_path / "my.csv", "utf-8-sig") == lines
