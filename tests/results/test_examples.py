"""Two runs row by row: right and wrong answers written down beforehand."""

import numpy as np
import pytest

from mmrun.errors import ConfigError, DataError
from mmrun.results.examples import examine
from mmrun.results.files import read_json, write_json
from mmrun.results.predictions import write_predictions
from tests.results.fabricate import finished

TARGET = np.array([0, 1, 2, 0, 1, 2, 0, 1, -100])  # the last row's class is hidden
IDS = [f"row{number}" for number in range(9)]


@pytest.fixture
def pair(tmp_path):
    return finished(tmp_path, 0.5, "component"), finished(tmp_path, 0.5, "scratch")


def one_hot(classes):
    return np.eye(3)[np.array(classes)]


def right_but(*wrong):
    """Scores of a run that errs in some rows."""
    return one_hot([(c + (row in wrong)) % 3 if c >= 0 else 0 for row, c in enumerate(TARGET)])


def write(run, scores, ids=IDS, target=TARGET):
    write_predictions(run, "test", ids, {"label": target}, {"label": scores})


def test_the_rows_that_flip_are_named_and_tested(pair):
    write(pair[0], right_but(7))
    write(pair[1], right_but(0, 1, 2, 3, 4, 5))
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.task, examples.figure, examples.rows) == ("label", "accuracy", 8)
    assert (examples.one, examples.other, examples.difference) == (7 / 8, 2 / 8, 5 / 8)
    assert (examples.only_one, examples.only_other) == (IDS[:6], ["row7"])
    assert (examples.test, examples.p) == ("mcnemar", pytest.approx(16 / 128))  # 1 + 7 of 2^7, on both sides
    assert 0.0 <= examples.low < 5 / 8 < examples.high <= 1.0


def test_equal_predictions_have_no_difference(pair):
    for run in pair:
        write(run, right_but(3))
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.difference, examples.low, examples.p, examples.only_one) == (0.0, None, 1.0, [])


def test_rows_are_matched_by_id(pair):
    write(pair[0], right_but())
    write(pair[1], right_but(0)[::-1], IDS[::-1], TARGET[::-1])
    assert examine(pair[0], pair[1], "test").tasks[0].only_one == ["row0"]


def test_rows_of_one_run_only_are_left_out_with_a_notice(pair):
    write(pair[0], right_but())
    write(pair[1], right_but(0)[:5], IDS[:5], TARGET[:5])
    examples = examine(pair[0], pair[1], "test")
    assert (examples.tasks[0].rows, examples.tasks[0].only_one) == (5, ["row0"])
    assert examples.notices == ["4 rows of label are in one run only and left out"]


def test_the_primary_head_is_compared(pair):
    write(pair[0], right_but())
    write_predictions(
        pair[1], "test", IDS, {"label": TARGET}, {"label/image": right_but(0), "label/text": right_but(1)}
    )
    write_json(pair[1].metrics_file, {**read_json(pair[1].metrics_file), "primary_head": "probe.text"})
    assert examine(pair[0], pair[1], "test").tasks[0].only_one == ["row1"]


def test_numbers_are_compared_by_their_error(pair):
    target = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.0])
    for run, errors in zip(pair, ([1, 1, 1, 1, 1, 1, 1], [2, 3, 4, 5, 6, 0.5, 8]), strict=True):
        write_predictions(run, "test", IDS[:7], {"label": target}, {"label": (target + errors)[:, None]})
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.figure, examples.rows, examples.test) == ("absolute_error", 6, "wilcoxon")
    assert (examples.one, examples.difference) == (1.0, pytest.approx(1 - 24.5 / 6))
    assert (examples.only_one, examples.only_other) == (["row0", "row1", "row3", "row4", "row6"], ["row5"])
    assert examples.p == pytest.approx(4 / 64)  # the one negative rank is the smallest: 2 of 2^6 ways on each side


def test_labels_are_compared_by_how_many_are_right(pair):
    target = np.array([[1.0, 0.0], [1.0, np.nan], [np.nan, np.nan]])
    for run, scores in zip(pair, ([[0.9, 0.1]] * 3, [[0.9, 0.9]] * 3), strict=True):
        write_predictions(run, "test", IDS[:3], {"label": target}, {"label": np.array(scores)})
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.figure, examples.rows, examples.one, examples.other) == ("label_accuracy", 2, 1.0, 0.75)
    assert examples.only_one == ["row0"]


def test_differences_between_the_runs_are_reported(tmp_path):
    first, second = finished(tmp_path, 0.5), finished(tmp_path, 0.5, budget={"epochs": 20.0, "steps": None})
    for run in (first, second):
        write(run, right_but())
    assert examine(first, second, "test").notices == [
        "budget differs between compared runs: epochs=10 (n=1), epochs=20 (n=1)"
    ]


def test_runs_that_cannot_be_compared_are_errors(pair):
    write(pair[0], right_but())
    file = pair[1].predictions / "test.parquet"
    with pytest.raises(DataError, match=f"^{file}: no such file; the run stored no predictions of the test rows$"):
        examine(pair[1], pair[0], "test")
    write(pair[1], right_but(), [f"other{number}" for number in range(9)])
    with pytest.raises(ConfigError, match=r"^--examples: the two runs have no row of label in common"):
        examine(pair[0], pair[1], "test")
    write(pair[1], right_but(), IDS, TARGET[::-1])
    with pytest.raises(DataError, match=r"^--examples: the two runs have different targets for the same rows of label"):
        examine(pair[0], pair[1], "test")
