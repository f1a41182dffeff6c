"""Two runs row by row: right and wrong answers written down beforehand."""

import numpy as np
import pytest

from mmrun.errors import ConfigError, DataError
from mmrun.results.examples import RowGroups, examine
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
    assert (examples.task, examples.metric, examples.rows) == ("label", "accuracy", 8)
    assert (examples.mean_a, examples.mean_b, examples.difference) == (7 / 8, 2 / 8, 5 / 8)
    assert (examples.better_a, examples.better_b) == (IDS[:6], ["row7"])
    assert (examples.test, examples.p) == ("mcnemar", pytest.approx(16 / 128))  # 1 + 7 of 2^7, on both sides
    assert 0.0 <= examples.low < 5 / 8 < examples.high <= 1.0


def test_equal_predictions_have_no_difference(pair):
    for run in pair:
        write(run, right_but(3))
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.difference, examples.low, examples.p, examples.better_a) == (0.0, None, 1.0, [])


def test_rows_are_matched_by_id(pair):
    write(pair[0], right_but())
    write(pair[1], right_but(0)[::-1], IDS[::-1], TARGET[::-1])
    assert examine(pair[0], pair[1], "test").tasks[0].better_a == ["row0"]


def test_rows_of_one_run_only_are_left_out_with_a_notice(pair):
    write(pair[0], right_but())
    write(pair[1], right_but(0)[:5], IDS[:5], TARGET[:5])
    examples = examine(pair[0], pair[1], "test")
    assert (examples.tasks[0].rows, examples.tasks[0].better_a) == (5, ["row0"])
    assert examples.notices == ["4 rows of label are in one run only and left out"]


def test_the_primary_head_is_compared(pair):
    write(pair[0], right_but())
    write_predictions(
        pair[1], "test", IDS, {"label": TARGET}, {"label/image": right_but(0), "label/text": right_but(1)}
    )
    write_json(pair[1].metrics_file, {**read_json(pair[1].metrics_file), "primary_head": "probe.text"})
    assert examine(pair[0], pair[1], "test").tasks[0].better_a == ["row1"]


def test_numbers_are_compared_by_their_error(pair):
    target = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0, 7.0])
    for run, errors in zip(pair, ([1, 1, 1, 1, 1, 1, 1], [2, 3, 4, 5, 6, 0.5, 8]), strict=True):
        write_predictions(run, "test", IDS[:7], {"label": target}, {"label": (target + errors)[:, None]})
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.metric, examples.rows, examples.test) == ("absolute_error", 6, "wilcoxon")
    assert (examples.mean_a, examples.difference) == (1.0, pytest.approx(1 - 24.5 / 6))
    assert (examples.better_a, examples.better_b) == (["row0", "row1", "row3", "row4", "row6"], ["row5"])
    assert examples.p == pytest.approx(4 / 64)  # the one negative rank is the smallest: 2 of 2^6 ways on each side


def test_labels_are_compared_by_how_many_are_right(pair):
    target = np.array([[1.0, 0.0], [1.0, np.nan], [np.nan, np.nan]])
    for run, scores in zip(pair, ([[0.9, 0.1]] * 3, [[0.9, 0.9]] * 3), strict=True):
        write_predictions(run, "test", IDS[:3], {"label": target}, {"label": np.array(scores)})
    (examples,) = examine(pair[0], pair[1], "test").tasks
    assert (examples.metric, examples.rows, examples.mean_a, examples.mean_b) == ("label_accuracy", 2, 1.0, 0.75)
    assert examples.better_a == ["row0"]


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


# ------------------------------------------------------------------------------------------------------- groups, NaN


def test_rows_of_one_group_count_as_one(pair):
    write(pair[0], right_but())
    write(pair[1], right_but(0, 1, 2, 3, 4, 5))
    patients = {id: f"p{row // 2}" for row, id in enumerate(IDS)}  # p0 to p2 are wrong twice, p3 never; p4 is hidden
    examples = examine(pair[0], pair[1], "test", RowGroups("patient", patients))
    (task,) = examples.tasks
    assert (examples.column, task.rows, task.groups, task.test) == ("patient", 8, 4, "permutation")
    assert task.p == 4 / 16  # of 16 ways to set the signs of 2, 2, 2, 0
    assert examples.notices == ["with 4 groups p of the permutation test cannot be below 0.125"]
    # sums 2, 2, 2, 0 of 2 rows each: mean 3/4, residuals 1/2, 1/2, 1/2, -3/2; t(3) = 3.182446
    half = 3.1824463 * (4 / 3 * 3) ** 0.5 / 8
    assert (task.low, task.high) == (pytest.approx(0.75 - half), 1.0)  # a difference of shares is at most 1


def test_rows_without_a_group_are_groups_of_their_own(pair):
    write(pair[0], right_but())
    write(pair[1], right_but(0))
    cells = dict(zip(IDS, ["a", " a", "b", "", "", "b", "", "b", ""], strict=True))
    assert examine(pair[0], pair[1], "test", RowGroups("patient", cells)).tasks[0].groups == 5


def test_groups_that_cannot_be_used_are_errors(pair):
    for run in pair:
        write(run, right_but())
    with pytest.raises(ConfigError, match=r"^--groups site: all rows have one value; a test needs several groups$"):
        examine(pair[0], pair[1], "test", RowGroups("site", dict.fromkeys(IDS, "north")))
    with pytest.raises(DataError, match=r"^--groups site: no row 'row0' in the data file; it has changed "):
        examine(pair[0], pair[1], "test", RowGroups("site", {}))


def test_a_class_prediction_that_is_not_a_number_is_wrong(pair):
    scores = right_but().astype(float)
    scores[0] = np.nan  # argmax would be 0, the right class
    write(pair[0], scores)
    write(pair[1], right_but())
    examples = examine(pair[0], pair[1], "test")
    assert examples.tasks[0].better_b == ["row0"]
    assert examples.notices == ["1 prediction of label by A are not finite numbers and count as wrong"]


def test_a_number_that_is_not_finite_is_left_out_on_both_sides(pair):
    target = np.array([1.0, 2.0, 3.0, 4.0])
    for run, scores in zip(pair, ([1, 2, 3, np.nan], [1, np.inf, 5, 4]), strict=True):
        write_predictions(run, "test", IDS[:4], {"label": target}, {"label": np.array(scores)[:, None]})
    examples = examine(pair[0], pair[1], "test")
    assert (examples.tasks[0].rows, examples.tasks[0].difference) == (2, -1.0)
    assert examples.notices == [
        "1 prediction of label by A are not finite numbers and are left out",
        "1 prediction of label by B are not finite numbers and are left out",
    ]


def test_both_runs_have_one_metric(pair):
    target = np.array([1.0, 0.0, 1.0])  # numbers that look like labels, and one run outside of 0 to 1
    for run, scores in zip(pair, ([0.9, 0.1, 0.8], [1.5, -0.5, 0.8]), strict=True):
        write_predictions(run, "test", IDS[:3], {"label": target}, {"label": np.array(scores)[:, None]})
    (task,) = examine(pair[0], pair[1], "test").tasks
    assert (task.metric, task.mean_a, task.mean_b) == (
        "absolute_error",
        pytest.approx(0.4 / 3, abs=1e-6),
        pytest.approx(0.4),
    )


def test_numbers_between_0_and_1_are_not_labels(pair):
    for run in pair:
        write_predictions(run, "test", IDS[:2], {"label": np.array([1.0, 0.0])}, {"label": np.array([[0.9], [0.2]])})
        metrics = read_json(run.metrics_file)
        metrics["metrics"]["test"] = {"r2": 0.9}
        write_json(run.metrics_file, metrics)
    assert examine(pair[0], pair[1], "test").tasks[0].metric == "absolute_error"
