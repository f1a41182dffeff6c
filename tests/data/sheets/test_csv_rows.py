import pytest

from mmrun.data.sheets.csv_rows import find_delimiter


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
