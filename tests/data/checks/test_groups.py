from pathlib import Path

import numpy as np
import pytest

from mmrun.data.checks.groups import find_leaking_groups
from mmrun.data.table import Column, Table, Target

SPLIT = np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 10)
ROWS = range(60)


def find(values, cells, kind="image", groups=None, names=("no", "yes")):
    classes = np.arange(60, dtype=np.int64) % len(names)
    targets = {"label": Target("classification", classes, list(names))}
    ids = [str(row) for row in ROWS]
    table = Table(ids, {"photo": Column(kind, values)}, targets, SPLIT, "", groups=groups)
    return [(finding.message, finding.remedy) for finding in find_leaking_groups(table, cells)]


TEXTS = [f"text {row}" for row in ROWS]


@pytest.mark.parametrize("name", ["patient", "Speaker_ID", "user-name"])
def test_a_column_called_like_a_group_whose_rows_are_torn(name):
    assert find(TEXTS, {name: [f"p{row % 12}" for row in ROWS]}, "text") == [
        (f"column '{name}': 12 of 12 have rows in several splits", f"if they belong together, set group={name}")
    ]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("town", [f"p{row % 12}" for row in ROWS]),  # no name of a group
        ("patient", [f"p{row}" for row in ROWS]),  # none has two rows
        ("patient", [f"p{row // 5}" for row in ROWS]),  # none is torn
        ("patient", ["p1", "p2"] * 30),  # too few
        ("patient", [None] * 60),
    ],
)
def test_other_columns_are_no_leaking_groups(name, cells):
    assert find(TEXTS, {name: cells}, "text") == []


def test_nothing_is_said_where_groups_are_set():
    cells = {"patient": [f"p{row % 12}" for row in ROWS]}
    assert find(TEXTS, cells, "text", groups=np.array(["all"] * 60)) == []


def test_file_names_that_begin_alike_in_several_splits():
    [(message, _)] = find([Path(f"img/p{row % 12}_{row}.png") for row in ROWS], {})
    assert message == "photo: file names begin like 'p0_' in 12 ways, 12 of them in several splits"


@pytest.mark.parametrize(
    "path",
    [
        lambda row: Path(f"{row}.png"),
        lambda row: Path(f"IMG_{row}.png"),  # one beginning
        lambda row: Path(f"{SPLIT[row]}_{row}.png"),
        lambda row: Path(f"p{row // 5}_{row}.png"),  # whole groups
        lambda row: Path(f"a{row}_b{row}.png"),  # all differ
    ],
)
def test_file_names_that_are_no_leaking_groups(path):
    assert find([path(row) for row in ROWS], {}) == []


def test_names_of_classes_are_no_groups():
    names = ("cat", "cow", "dog", "emu", "fox", "owl")
    assert find([Path(f"{names[row % 6]}_{row}.png") for row in ROWS], {}, names=names) == []
