"""Columns that give away one label of many, one number of several, or a rare class."""

import numpy as np
import pytest

from mmrun.data.checks.giveaways import encode_cells, find_giveaways, score_alone
from mmrun.data.sources.manifest import manifest
from mmrun.data.table import Target

IS_TRAINING = np.arange(200) < 100
ROWS = range(200)


def target_of(task, values, names):
    return Target(task, np.array(values), names)


def test_a_column_that_gives_one_label_away():
    labels = np.array([[row % 2, row % 3 == 0, row % 7 == 0] for row in ROWS], dtype=np.float32)
    target = target_of("multilabel", labels, ["cat", "dog", "owl"])
    cells = encode_cells([f"seen {row % 3}" for row in ROWS])
    assert score_alone(cells, target, IS_TRAINING) == {"dog": "accuracy 1.000"}
    assert score_alone(encode_cells([row % 5 for row in ROWS]), target, IS_TRAINING) == {}


def test_labels_that_are_unknown_in_some_rows_are_judged_on_the_others():
    labels = np.array([[row % 2, np.nan if row % 5 == 0 else row % 3 == 0] for row in ROWS], dtype=np.float32)
    target = target_of("multilabel", labels, ["cat", "dog"])
    assert score_alone(encode_cells([row % 6 for row in ROWS]), target, IS_TRAINING) == {
        "cat": "accuracy 1.000",
        "dog": "accuracy 1.000",
    }


def test_a_column_that_gives_one_of_several_numbers_away():
    numbers = np.array([[row * 7 % 100 * 1.5 + 0.25, row * 31 % 97] for row in ROWS], dtype=np.float32)
    target = target_of("regression", numbers, ["height", "weight"])
    assert score_alone(encode_cells([row * 7 % 100 for row in ROWS]), target, IS_TRAINING) == {"height": "R2 1.0000"}


@pytest.mark.parametrize(("num_wrong", "scores"), [(0, {"": "accuracy 1.000"}), (2, {})])
def test_a_rare_class_is_given_away_only_if_its_own_rows_are_right(num_wrong, scores):
    """One class in 25 rows: always predicting the other one has an accuracy of 0.96."""
    is_rare = np.array([row % 25 == 0 for row in ROWS])
    target = target_of("classification", is_rare.astype(np.int64), ["no", "yes"])
    shown = is_rare.copy()
    shown[np.flatnonzero(is_rare)[-num_wrong or 200 :]] = False
    assert score_alone(encode_cells(shown.astype(float).tolist()), target, IS_TRAINING) == scores


def test_the_message_names_the_labels(tmp_path):
    lines = [f"{row % 16},{'|'.join('abcd'[bit] for bit in range(4) if row % 16 >> bit & 1)}" for row in ROWS]
    (tmp_path / "my.csv").write_text("code,tags\n" + "\n".join(lines) + "\n")
    table = manifest(str(tmp_path / "my.csv"), target="tags", task={"tags": "multilabel"})
    assert find_giveaways(table) == [
        "tabular: column 'code' alone predicts 'a', 'b', 'c' and 1 more of tags in the val and test rows (accuracy "
        "1.000); leave it out if it is made from the target"
    ]


@pytest.mark.parametrize(
    ("column", "target", "score"),
    [
        (lambda row: f"code {row % 3}", lambda row: row % 3, "accuracy 1.000"),
        (lambda row: 10 * (row % 3) + row / 1000, lambda row: row % 3, "accuracy 1.000"),
        (lambda row: "" if row % 2 else row % 5, lambda row: row % 2, "accuracy 1.000"),
        (lambda row: row * 7 % 200, lambda row: (row * 7 % 200) * 1.5 + 0.25, "R2 0.9997"),
        (lambda row: row * 7 % 200, lambda row: row % 3, None),
        (lambda row: f"name {row}", lambda row: row % 3, None),
    ],
)
def test_a_column_that_gives_the_target_away(tmp_path, column, target, score):
    lines = [f"{column(row)},{row * 31 % 97},{target(row)}" for row in range(200)]
    (tmp_path / "my.csv").write_text("x,other,label\n" + "\n".join(lines) + "\n")
    table = manifest(str(tmp_path / "my.csv"), {"cells": ["x", "other"]})
    expected = (
        f"cells: column 'x' alone predicts label in the val and test rows ({score}); "
        "leave it out if it is made from the target"
    )
    assert find_giveaways(table) == ([] if score is None else [expected])
