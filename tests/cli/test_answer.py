"""One answer in every format."""

import pytest

from mmrun.cli.answer import Answer, print_answer
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
