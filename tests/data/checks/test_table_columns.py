import numpy as np
import pytest

from mmrun.data.checks.audit import audit
from mmrun.data.checks.table_columns import find_similar_records
from mmrun.data.sources.manifest import manifest


def find(folder, cell):
    """Return what is said of a column x of 400 rows."""
    rng = np.random.default_rng(0)
    lines = [f"{cell(row)},{rng.normal():.4f},{'ab'[row % 2]}" for row in range(400)]
    (folder / "my.csv").write_text("x,other,label\n" + "\n".join(lines) + "\n")
    findings = audit(manifest(str(folder / "my.csv"), columns={"table": ["x", "other"]}), judges_labels=False).findings
    return [(finding.kind, finding.message) for finding in findings]


@pytest.mark.parametrize(
    ("cell", "findings"),
    [
        (lambda row: row % 9, []),
        (lambda row: 7, []),  # the table itself warns of it
        (
            lambda row: 1 if row in (77, 177) else 0,
            [("constant", "table: column 'x' is '0' in 99.4% of the training rows")],
        ),
        (lambda row: f"c{row}", [("identifier", "table: column 'x' has 320 categories in 320 rows")]),
    ],
)
def test_columns(tmp_path, cell, findings):
    assert [finding for finding in find(tmp_path, cell) if finding[0] != "cells"] == findings


def test_rows_with_nearly_the_same_numbers_and_the_same_categories_are_similar():
    numbers = np.array([[0.1, 1.0], [0.10004, 1.00003], [0.1, 1.0], [0.2, 1.0], [0.1, 1.0]], dtype=np.float32)
    decoded = {
        "numeric": numbers,
        "missing": np.array([[False, False]] * 4 + [[True, False]]),
        "categorical": np.array([[1], [1], [2], [1], [1]]),
    }
    assert {tuple(pair) for pair in find_similar_records(decoded).tolist()} == {(0, 1)}
