import numpy as np
import pytest

from mmrun.data.sources.manifest import manifest
from mmrun.data.split import choose_labelled_rows
from mmrun.data.split_file import Request, check_request, divide_file
from mmrun.errors import ConfigError, DataError


def write(tmp_path, header: str, rows: list[str]):
    path = tmp_path / "my.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def count(division) -> dict[str, int]:
    return {name: int((division.parts == name).sum()) for name in division.names}


def test_classes_are_stratified_and_rare_ones_are_named(tmp_path):
    path = write(tmp_path, "x,label", [f"{row},{'ab'[row % 2] if row > 1 else 'rare'}" for row in range(100)])
    division = divide_file(path, Request())
    assert count(division) == {"train": 80, "val": 10, "test": 10}
    assert division.notes == ["label: 'rare' has 2 rows, and none in val and test"]


def test_a_class_with_one_row_is_for_training(tmp_path):
    path = write(tmp_path, "x,label", [f"{row},{'ab'[row % 2] if row else 'once'}" for row in range(30)])
    for seed in range(5):
        division = divide_file(path, Request(seed=seed))
        assert division.parts[0] == "train"
        assert division.notes == ["label: 'once' has 1 row, and none in val and test"]


def test_numbers_are_stratified_by_quantiles(tmp_path):
    path = write(tmp_path, "x,label", [f"a,{row}.5" for row in range(1000)])
    division = divide_file(path, Request(folds=5))
    for name in division.names:
        assert np.histogram(np.flatnonzero(division.parts == name), 10, (0, 1000))[0].tolist() == [20] * 10


def test_label_sets_are_stratified(tmp_path):
    rows = [f"{row},{'a|b' if row % 10 == 0 else 'a' if row % 2 else 'c'}" for row in range(200)]
    division = divide_file(write(tmp_path, "x,label", rows), Request(), task="multilabel")
    is_b = np.arange(200) % 10 == 0
    assert [int((division.parts[is_b] == name).sum()) for name in division.names] == [16, 2, 2]


def test_groups_stay_whole_and_bad_sizes_are_said(tmp_path):
    path = write(tmp_path, "x,who,label", [f"{row},p{row % 3},{'ab'[row % 2]}" for row in range(30)])
    division = divide_file(path, Request(group="who"))
    assert count(division) == {"train": 10, "val": 10, "test": 10}
    assert division.notes == [
        "train has 33.3% of the rows, not 80.0%: groups stay whole",
        "val has 33.3% of the rows, not 10.0%: groups stay whole",
        "test has 33.3% of the rows, not 10.0%: groups stay whole",
    ]


def test_columns_may_be_typed_with_accents_of_their_own(tmp_path):
    path = write(tmp_path, "caf\u00e9,r\u00e9gion", [f"{'ab'[row % 2]},p{row % 5}" for row in range(30)])
    division = divide_file(path, Request(group="re\u0301gion"), target="cafe\u0301")
    assert list(division.targets) == ["caf\u00e9"]
    assert len(set(division.groups)) == 5


def test_dates_divide_rows_from_old_to_new(tmp_path):
    rows = [f"{row},{28 - row // 4}.12.2024,{'ab'[row % 2]}" for row in range(40)]
    division = divide_file(write(tmp_path, "x,when,label", rows), Request(time="when"))
    assert division.parts.tolist() == ["test"] * 4 + ["val"] * 4 + ["train"] * 32
    assert division.times["test"] == ("28.12.2024", "28.12.2024")
    assert division.times["train"] == ("19.12.2024", "26.12.2024")


def test_rows_without_a_target_are_for_training(tmp_path):
    path = write(tmp_path, "x,who,label", [f"{row},p{row // 2},{'ab'[row % 2] if row else ''}" for row in range(40)])
    division = divide_file(path, Request())
    assert division.parts[0] == "train"
    assert division.notes == ["rows without a target are in train: 1"]
    division = divide_file(path, Request(folds=4, group="who"))
    assert division.parts[:2].tolist() == ["", ""]
    assert division.notes[0] == (
        "rows without a target are in no fold, so always for training: 1, and 1 more of their groups"
    )


def test_labelled_shares_are_those_of_a_run(tmp_path):
    path = write(tmp_path, "x,label", [f"{row},{'ab'[row % 2]}" for row in range(200)])
    division = divide_file(path, Request(labelled=(0.5, 0.1), seed=3))
    lines = [f"{row},{'ab'[row % 2]},{part}" for row, part in enumerate(division.parts)]
    table = manifest(str(write(tmp_path, "x,label,split", lines)))
    for share in (0.1, 0.5, 1.0):
        rows = [row for row, smallest in enumerate(division.labelled) if smallest is not None and smallest <= share]
        assert rows == choose_labelled_rows(table, share, seed=3).tolist()


@pytest.mark.parametrize(
    ("rows", "request_", "message"),
    [
        (["1,a", "2,b"], Request(), "my.csv: 2 rows cannot be divided into 3 parts; each needs at least one"),
        (
            ["1,a", "2,b", "3,a"],
            Request(folds=9),
            "my.csv: 3 rows cannot be divided into 9 parts; each needs at least one",
        ),
        (
            ["1,a", "1,b", "2,a"],
            Request(group="x"),
            "my.csv: 2 groups cannot be divided into 3 parts; each needs at least one",
        ),
        (
            ["1,a", "1,b", "2,a"],
            Request(time="x"),
            "my.csv: 2 different times cannot be divided into 3 parts; each needs at least one",
        ),
        (
            ["1,a", "2,b,c"],
            Request(),
            "my.csv:3: has 3 cells, but the header has 2; quote cells that contain the separator",
        ),
        (
            ["1,a", "2,b", "x,b"],
            Request(time="x"),
            "my.csv:4: column 'x': 'x' is neither a date nor a number; correct it, or name another with --time",
        ),
        (
            ["1,a", "2,b", "3,", "4,"],
            Request(time="x"),
            "my.csv: 2 rows of the val and test times have no target, and cannot be tested; remove them first",
        ),
        (
            ["1,a", "1,", "2,", "2,b"],
            Request(group="x"),
            "every group has a row without a target, which cannot be tested; remove these rows first",
        ),
    ],
)
def test_requests_that_cannot_be_met(tmp_path, rows, request_, message):
    with pytest.raises(DataError) as error:
        divide_file(write(tmp_path, "x,label", rows), request_)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(val=1.5), "--val: 1.5 is not a share of the rows; write for example 0.1"),
        (Request(val=0.5, test=0.5), "--val and --test: 0.5 and 0.5 leave no row for training; lower them"),
        (Request(val=0, test=0), "--val and --test: both are 0, so that there is nothing to split"),
        (
            Request(folds=2),
            "--folds: 2; a run needs 3 or more: one for testing, one for validation, the others for training",
        ),
        (
            Request(folds=5, time="x"),
            "--folds and --time: a fold would be tested with later rows in training; drop one of them",
        ),
        (
            Request(group="x", time="y"),
            "--group and --time: a group may have old and new rows, which cannot stay together; drop one",
        ),
        (Request(labelled=[2]), "--labelled: 2 is not a share of the training rows; write for example 0.01,0.1"),
    ],
)
def test_requests_that_contradict_themselves(request_, message):
    with pytest.raises(ConfigError) as error:
        check_request(request_)
    assert str(error.value) == message
