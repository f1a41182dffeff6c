from mmrun.cli.layout import fit_table, wrap
from mmrun.results.table import Table

MEANS = Table(
    "accuracy",
    ["strategy", "n", "sd", "difference"],
    [["scratch", "3", "0.01", "-"], ["component_frozen_first", "3", "0.02", "+0.1"]],
    details=(2,),
)


def headers(tables):
    return [table.header for table in tables]


def test_a_table_that_fits_stays_one_table():
    assert fit_table(MEANS, 46) == [MEANS]
    assert fit_table(MEANS, None) == [MEANS]


def test_details_go_below_before_anything_else():
    first, second = fit_table(MEANS, 45)
    assert headers([first, second]) == [["strategy", "n", "difference"], ["strategy", "sd"]]
    assert first.rows[1] == ["component_frozen_first", "3", "+0.1"]
    assert (first.caption, second.caption) == ("accuracy", "")


def test_names_wrap_after_punctuation_once_details_are_gone():
    first, _ = fit_table(MEANS, 38)
    assert first.header == ["strategy", "n", "difference"]
    assert first.rows[1][0] == "component_frozen_\nfirst"


def test_other_columns_go_below_last():
    assert headers(fit_table(MEANS, 24)) == [["strategy", "n"], ["strategy", "difference"], ["strategy", "sd"]]


def test_keys_that_leave_no_room_for_another_column_are_joined_to_one_text():
    keys = [f"key{number}" for number in range(8)]
    table = Table("", [*keys, "n", "mean"], [[*"12345678", "3", "0.5000"]], left=8, styles={(0, 9): "best"})
    (joined,) = fit_table(table, 40)
    assert joined.header == ["", "n", "mean"]
    assert joined.rows == [["key0=1 key1=2 key2=3 key3=4\nkey4=5 key5=6 key6=7 key7=8", "3", "0.5000"]]
    assert joined.styles == {(0, 2): "best"}
    assert fit_table(table, 80) == [table]


def test_styles_follow_their_columns():
    styled = Table("", MEANS.header, MEANS.rows, details=(2,), styles={(1, 3): "best", (0, 2): "faint"})
    first, second = fit_table(styled, 45)
    assert (first.styles, second.styles) == ({(1, 2): "best"}, {(0, 1): "faint"})


def test_text_wraps_at_spaces_then_punctuation_then_anywhere():
    assert wrap("with the fusion of two", 10) == ["with the", "fusion of", "two"]
    assert wrap("outputs/digits-scratch", 12) == ["outputs/", "digits-", "scratch"]
    assert wrap("abcdefgh", 3) == ["abc", "def", "gh"]
    assert wrap("two\nlines", 80) == ["two", "lines"]
    assert wrap("", 80) == [""]


def test_wide_characters_take_two_columns():
    assert wrap("画像画像", 4) == ["画像", "画像"]
