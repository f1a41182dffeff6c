"""Command lines that cannot work, each with its literal answer: fixtures/wrong_command_lines.txt.

A file of pairs: what is typed after `mmrun train`, and, indented, what is printed after `mmrun: `. An answer that ends
with ... goes on with the list of what there is. `python -m tests.test_wrong_command_lines FILE` prints the answers to
the lines of a file, to be read and added.
"""

import sys
from pathlib import Path

import pytest
import yaml

from mmrun import compose, plugins
from mmrun.cli import Parser, main, train
from mmrun.cli.sweep import print_configs, split_overrides
from mmrun.errors import MmrunError
from mmrun.run import checks

FILE = Path(__file__).parent / "fixtures" / "wrong_command_lines.txt"
LONG = {  # names of overrides that are too long to be written down
    "LONG": "fusion.dim=" + "x" * 5000,
    "LONG_LIST": f"encoder.image.channels=[{'1,' * 5000}1]",
    "DEEP_LIST": f"fusion.dim={'[' * 500}{']' * 500}",
    "DEEP_MAPPING": f"fusion={'{a: ' * 200}1{'}' * 200}",
}
LISTS = (" (there are", " (a run has", "has _target_", " (trainer has", " (budget has", ".train has objective")


def read_lines(file):
    """Return the pairs of a file."""
    rows = [row for row in file.read_text().splitlines() if row and not row.startswith("#")]
    return list(zip(rows[::2], (row.strip() for row in rows[1::2]), strict=True))


def split_words(line):
    """Split a line at spaces outside of brackets."""
    words, depth = [""], 0
    for character in line:
        depth += (character in "[{(") - (character in "]})")
        if character == " " and depth <= 0:
            words.append("")
        else:
            words[-1] += character
    return [LONG.get(word, word) for word in words]


def check(words):
    """Do what `mmrun train` does before it reads data."""
    remaining, packages = plugins.split_allowed(words)
    plugins.allow(packages)
    parser = Parser(prog="mmrun train", allow_abbrev=False)
    train.add_arguments(parser)
    args = parser.parse_args(remaining)
    compose.use_config_dirs(args.config_dir)
    if args.multirun and args.cfg:
        print_configs(args.overrides)
    elif args.multirun:
        for overrides in compose.expand_sweep(split_overrides(args.overrides)[0]):
            checks.check_nodes(compose.load(overrides))
    else:
        checks.check_nodes(compose.load(args.overrides))


def answer_to(line):
    try:
        check(split_words(line))
    except MmrunError as error:
        return str(error) if error.exit_code == 2 else f"exit code {error.exit_code}: {error}"
    return "nothing"


PAIRS = read_lines(FILE)
COMBINATIONS = read_lines(FILE.with_name("wrong_combinations.txt"))  # found when data and model are built


STEP = 25
PARTS = [  # every second one is left out by the fast tier
    pytest.param(start, marks=pytest.mark.slow if start % (2 * STEP) else ()) for start in range(0, len(PAIRS), STEP)
]


def test_the_table_is_long():
    assert len(PAIRS) >= 500
    assert len(dict(PAIRS)) == len(PAIRS)


@pytest.mark.parametrize("part", PARTS)
def test_wrong_command_lines_are_answered(part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = []
    for line, expected in PAIRS[part : part + STEP]:
        answer = answer_to(line).replace(str(tmp_path), "FOLDER")
        matches = answer.startswith(expected.removesuffix(" ...")) if expected.endswith("...") else answer == expected
        if not matches or "\n" in answer:
            wrong.append(f"{line}\n    {answer}\n    not: {expected}")
    assert wrong == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("line", "expected"), COMBINATIONS)
def test_what_does_not_fit_together_is_found_before_anything_is_decoded(line, expected):
    with pytest.raises(MmrunError) as caught:
        checks.check(compose.load(split_words(line)))
    answer = str(caught.value)
    assert caught.value.exit_code == 2
    assert answer.startswith(expected.removesuffix("...").strip()) if expected.endswith("...") else answer == expected


@pytest.mark.parametrize(
    "words",
    [
        ["strategy.stages.train.monitor=acuracy"],
        ["-m", "seed=0,1", "strategy.stages.train.patience=3,0"],
        ["-m", "seed=0,1", "fusion=concat,attention", "fusion.num_heads=3"],
        ["-m", "hydra/launcher=nosuch", "seed=0,1"],
    ],
)
def test_nothing_is_written_before_every_run_is_checked(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words]) == 2
    assert capsys.readouterr().err.count("\n") <= 3
    assert list(tmp_path.iterdir()) == []


def test_the_configs_of_a_sweep_are_printed_instead_of_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "-m", "--cfg", "job", "seed=1,2"]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [document["seed"] for document in documents] == [1, 2]
    assert list(tmp_path.iterdir()) == []


def shorten(answer):
    """Cut an answer before a list of what there is, which grows."""
    for text in LISTS:
        if text in answer:
            return answer[: answer.index(text) + len(text)] + " ..."
    return answer.replace(str(Path.cwd()), "FOLDER")


if __name__ == "__main__":
    for row in Path(sys.argv[1]).read_text().splitlines():
        print(f"{row}\n    {shorten(answer_to(row))}" if row and not row.startswith("#") else row)
