"""The command itself: instant help, one-line errors, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

import mmrun
from mmrun.cli import VERBS, build_parser, main
from mmrun.errors import DamagedError, DataError, Terminated

REPOSITORY = Path(mmrun.__file__).parents[1]

HEAVY = ("torch", "hydra", "omegaconf", "rich", "numpy", "scipy", "yaml", "mmrun.compose")


def shell(line, **options):
    return subprocess.run(line, shell=True, capture_output=True, text=True, **options)


def test_help_lists_the_verbs(capsys):
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("usage: mmrun VERB ...")
    assert [line.split("  ")[1] for line in lines[4:]] == list(VERBS)


def test_verbs_of_two_words_are_listed_by_their_first(capsys):
    assert main(["data"]) == 2
    assert "data check" in capsys.readouterr().err
    assert main(["data", "-h"]) == 0
    assert "data preview  draw rows" in capsys.readouterr().out
    assert main(["data", "chekc"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: no verb 'data chekc'; did you mean 'data check'?")


def test_missing_verb_is_bad_usage(capsys):
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: mmrun VERB ...")


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mmrun {mmrun.__version__}\n"


def test_help_imports_nothing_heavy():
    code = f"import sys; from mmrun.cli import main; main(['-h']); print([m for m in {HEAVY} if m in sys.modules])"
    assert shell(f'{sys.executable} -c "{code}"', cwd=REPOSITORY).stdout.splitlines()[-1] == "[]"


HELP_OF_ALL_VERBS = """
import sys
from mmrun.cli import VERBS, build_parser
for verb in VERBS:
    assert build_parser(verb).format_help().startswith(f"usage: mmrun {verb}"), verb
    imported = [name for name in ("torch", "hydra") if name in sys.modules]
    assert not imported, f"the help of {verb} imports {imported}"
"""


def test_help_of_a_verb_imports_neither_torch_nor_hydra():
    done = subprocess.run([sys.executable, "-c", HELP_OF_ALL_VERBS], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["comparr"],
            f"mmrun: no verb 'comparr'; did you mean 'compare'? (there are {', '.join(VERBS)})\n",
        ),
        (["ls", "--srt", "age"], "mmrun: unrecognized arguments: --srt (see `mmrun ls -h`)\n"),
        (["show"], "mmrun: the following arguments are required: RUN (see `mmrun show -h`)\n"),
        (["ls", "--for", "csv"], "mmrun: unrecognized arguments: --for (see `mmrun ls -h`)\n"),
    ],
)
def test_bad_usage_is_one_line_and_exits_with_2(capsys, words, message):
    assert main(words) == 2
    assert capsys.readouterr().err == message


def raising(error):
    def run(args):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (DataError("my.csv:3: no image"), 2, "mmrun: my.csv:3: no image\n"),
        (DamagedError("metrics.json: damaged"), 1, "mmrun: metrics.json: damaged\n"),
        (KeyboardInterrupt(), 130, "mmrun: interrupted\n"),
        (Terminated(), 143, "mmrun: terminated\n"),
        (
            OSError(28, "No space left on device", "/full/table.json"),
            1,
            "mmrun: /full/table.json: No space left on device; free room or change its permissions, "
            "and repeat the command\n",
        ),
    ],
)
def test_errors_have_no_traceback(capsys, monkeypatch, error, code, message):
    monkeypatch.setattr("mmrun.cli.ls.run", raising(error))
    assert main(["ls"]) == code
    assert capsys.readouterr().err == message


def test_bugs_are_not_hidden(monkeypatch):
    monkeypatch.setattr("mmrun.cli.ls.run", raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        main(["ls"])


def test_stdout_may_be_closed_early():
    line = f"{sys.executable} -m mmrun options fusion; echo $? >&2"
    done = shell(f"({line}) | head -n 1", cwd=REPOSITORY)
    assert done.stdout.startswith("fusion=")
    assert done.stderr == "0\n"


def test_arguments_of_train_are_passed_on(monkeypatch):
    calls = []

    def train(arguments):
        calls.append(arguments)
        return 7

    monkeypatch.setattr("mmrun.cli.train.main", train)
    assert main(["train", "-m", "seed=0,1", "--cfg", "job"]) == 7
    assert calls == [["-m", "seed=0,1", "--cfg", "job"]]


def test_help_of_a_verb_exits_with_0(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["compare", "-h"])
    assert stopped.value.code == 0
    assert "--against VALUE" in capsys.readouterr().out


def test_flags_cannot_be_abbreviated():
    assert build_parser("ls").allow_abbrev is False
