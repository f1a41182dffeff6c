"""python -m mmrun.testing: the checks of a class on the command line."""

import pytest

from mmrun.testing.__main__ import main


def test_a_class_that_passes_exits_with_0(capsys):
    assert main(["mmrun.models.fusions.simple.Concat", "dim=8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok      ") for line in lines[:-1])
    assert lines[-1] == f"{len(lines) - 1} of {len(lines) - 1} checks passed"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mmrun.models.fusions.simple.Concat", "dim"], "mmrun: 'dim' is not ARGUMENT=VALUE\n"),
        (["os.system"], "mmrun: os.system: allow its package first, with --allow os\n"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(capsys, arguments, message):
    assert main(arguments) == 2
    assert capsys.readouterr().err == message


def test_without_a_class_the_usage_is_printed(capsys):
    assert (main([]), main(["--help"])) == (2, 0)
    assert capsys.readouterr().out.startswith("usage: python -m mmrun.testing PACKAGE.MODULE.CLASS")
