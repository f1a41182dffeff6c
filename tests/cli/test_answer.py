"""One answer in every format."""

from pathlib import Path

import pytest

from mmrun.cli.answer import Answer, print_answer
from mmrun.cli.output import set_quiet
from mmrun.results.table import Table

ANSWER = Answer(
    [Table("", ["run", "value"], [["a|b", "0.5000"]]), "two\nlines"],
    {"runs": ["a|b"]},
    [{"run": "=a", "tags": ["x", "y"]}, {"run": "b", "value": None}],
    ("run",),
)

PRINTED = {
    "table": "run    value\n────────────\na|b   0.5000\n\ntwo\nlines\n",
    "json": '{\n "runs": [\n  "a|b"\n ]\n}\n',
    "csv": 'run,tags,value\n\'=a,"[x,y]",\nb,,\n',
    "md": "| run | value |\n| --- | ---: |\n| a\\|b | 0.5000 |\n\ntwo  \nlines\n",
}


@pytest.mark.parametrize("format", PRINTED)
def test_formats(capsys, format):
    print_answer(ANSWER, format)
    assert capsys.readouterr().out == PRINTED[format]


def test_csv_without_records_has_its_header(capsys):
    print_answer(Answer([], [], [], ("run", "value")), "csv")
    assert capsys.readouterr().out == "run,value\n"


def test_what_is_no_number_is_null_in_json(capsys):
    print_answer(Answer([], {"value": float("nan"), "sum": [float("inf")]}, []), "json")
    assert capsys.readouterr().out == '{\n "value": null,\n "sum": [\n  null\n ]\n}\n'


def test_quiet_shows_of_an_answer_about_a_file_that_was_written_its_path(capsys):
    set_quiet(True)
    print_answer(Answer(["10 rows"], {}, [], written=Path("out.csv")), "table")
    print_answer(Answer(["10 rows"], {}, []), "table")
    set_quiet(False)
    assert capsys.readouterr().out == "out.csv\n10 rows\n"
