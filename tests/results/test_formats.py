"""Tables as Markdown, LaTeX and CSV, whatever their cells hold."""

from mmrun.results.formats import to_csv, to_latex, to_markdown
from mmrun.results.table import Table

TABLE = Table("50% <b>", ["name", "value"], [["a_b|c", "1"], ["@me [x](y)", "2"]])


def test_markdown_aligns_numbers_and_escapes_markup():
    assert to_markdown(TABLE) == (
        "50% \\<b>\n\n| name | value |\n| --- | ---: |\n| a_b\\|c | 1 |\n| \\@me [x]\\(y) | 2 |"
    )


def test_latex_has_rules_and_escapes_commands():
    assert to_latex(TABLE).splitlines() == [
        "% 50% <b>",
        "\\begin{tabular}{lr}",
        "\\toprule",
        "name & value \\\\",
        "\\midrule",
        "a\\_b|c & 1 \\\\",
        "@me [x](y) & 2 \\\\",
        "\\bottomrule",
        "\\end{tabular}",
    ]


def test_csv_has_the_keys_as_its_header():
    assert to_csv([{"a": 1, "b": None}, {"a": 2, "b": "x"}]) == "a,b\n1,\n2,x\n"
