import numpy as np
import pytest

from mmrun.data.checks.balance import check_classes, check_missing, check_splits
from mmrun.data.table import Column, Table, Target

SPLIT = np.array(["train"] * 100 + ["val"] * 50 + ["test"] * 50)


def make_table(values, split=SPLIT, classes=None):
    labels = np.arange(len(split)) % 2 if classes is None else classes
    target = Target("classification", np.array(labels, dtype=np.int64), ["no", "yes"])
    return Table(
        [str(row) for row in range(len(split))], {"voice": Column("text", values)}, {"label": target}, split, ""
    )


def messages_of(findings):
    return [finding.message for finding in findings]


def test_splits_with_few_rows():
    findings = check_splits(make_table(["x"] * 12, np.array(["train"] * 11 + ["val"])))
    assert [(finding.level, finding.message) for finding in findings] == [
        ("warning", "val: 1 rows are too few for reliable metrics"),
        ("error", "test: 0 rows"),
    ]


@pytest.mark.parametrize(
    ("train", "val", "messages"),
    [
        ({"a": 50, "b": 50}, {"a": 5, "b": 5}, []),
        ({"a": 50, "b": 0}, {"a": 5, "b": 5}, ["label: no training row is 'b'"]),
        ({"a": 50, "b": 4}, {"a": 5, "b": 5}, ["label: fewer than 5 training rows are 'b' (4)"]),
        ({"a": 50, "b": 9}, {"a": 5, "b": 0}, ["label: no row of val is 'b'"]),
        ({"a": 500, "b": 9}, {"a": 5, "b": 5}, ["label: 500 training rows are 'a', 9 'b'"]),
    ],
)
def test_classes(train, val, messages):
    assert messages_of(check_classes("label", {"train": train, "val": val, "test": {"a": 9, "b": 9}})) == messages


def test_many_rare_classes_are_one_line():
    train = {f"c{number}": 1 for number in range(9)}
    [finding] = check_classes("label", {"train": train, "val": train, "test": train})
    assert finding.message.endswith("'c4' (1) and 4 more")


ROWS = range(200)


@pytest.mark.parametrize(
    ("is_missing", "messages"),
    [
        (lambda row: False, []),
        (lambda row: row % 3 == 0, []),
        (lambda row: row < 100, ["voice: missing in all training rows"]),
        (lambda row: row >= 150, ["voice: missing in 100% of test, in 0% of training"]),
        (
            lambda row: row % 2 == 0 and row % 20 < 12,
            [
                "voice: missing in 60% of the training rows of label 'no', in 0% of 'yes'",
            ],
        ),
        (lambda row: row % 3 > 0, ["voice: missing in 66% of the rows"]),
    ],
)
def test_missing_modalities(is_missing, messages):
    table = make_table([None if is_missing(row) else "x" for row in ROWS])
    assert messages_of(check_missing(table, "voice")) == messages


def test_a_modality_that_no_training_row_has_is_an_error():
    [finding] = check_missing(make_table([None] * 100 + ["x"] * 100), "voice")
    assert (finding.level, finding.remedy) == ("error", "leave it out, or fill some of them")
