import pytest

from mmrun.data.giveaways import find_giveaways
from mmrun.data.sources.manifest import manifest


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
        f"cells: column 'x' alone tells label in the val and test rows ({score}); "
        "leave it out if it is made from the target"
    )
    assert find_giveaways(table) == ([] if score is None else [expected])
