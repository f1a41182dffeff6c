import numpy as np
import pytest

from mmrun.data.folds import split_by_fold
from mmrun.data.sources.manifest import manifest
from mmrun.errors import ConfigError, DataError

FOLDS = "text,age,fold,label\n" + "".join(f"word {row},{row}.5,{row % 4},{'ab'[row // 6]}\n" for row in range(12))


def write(tmp_path, content: str = FOLDS) -> str:
    (tmp_path / "my.csv").write_text(content)
    return str(tmp_path / "my.csv")


def test_a_fold_is_for_testing_and_the_next_one_for_validation(tmp_path):
    table = manifest(write(tmp_path), fold=3)
    assert table.split[:4].tolist() == ["val", "train", "train", "test"]
    assert list(table.fields) == ["text", "tabular"]
    assert table.fields["tabular"] == ["age"]


def test_folds_are_no_input_even_if_none_is_chosen(tmp_path):
    table = manifest(write(tmp_path))
    assert table.fields["tabular"] == ["age"]
    note = "column 'fold' holds the folds of a cross-validation, and is left out; dataset.columns.NAME=fold reads it"
    assert note in table.notes


def test_a_column_that_holds_no_folds_is_an_input(tmp_path):
    table = manifest(write(tmp_path, FOLDS.replace("word 0,0.5,0", "word 0,0.5,globin")))
    assert table.fields["tabular"] == ["age", "fold"]


def test_shares_of_labelled_rows_are_no_input(tmp_path):
    content = FOLDS.replace("fold", "labelled").replace("word 0,0.5,0", "word 0,0.5,").replace(",2,", ",0.5,")
    table = manifest(write(tmp_path, content.replace(",3,", ",0.1,").replace(",0,", ",1,")))
    assert table.fields["tabular"] == ["age"]


def test_a_row_without_a_fold_is_always_for_training(tmp_path):
    content = FOLDS.replace("word 3,3.5,3,a", "word 3,3.5,,")
    assert [manifest(write(tmp_path, content), fold=fold).split[3] for fold in range(4)] == ["train"] * 4


def test_a_row_without_a_target_cannot_be_tested(tmp_path):
    path = write(tmp_path, FOLDS.replace("3,a", "3,"))
    assert len(manifest(path, fold=1).ids) == 12
    with pytest.raises(DataError) as error:
        manifest(path, fold=3)
    assert (
        str(error.value)
        == "my.csv:5: column 'label': is empty, and the row is in test; fill it in, or move it to train"
    )


def test_a_split_beside_folds_is_not_used(tmp_path):
    content = FOLDS.replace("label\n", "label,split\n").replace("a\n", "a,train\n").replace("b\n", "b,test\n")
    table = manifest(write(tmp_path, content), fold=0)
    assert table.split[:2].tolist() == ["test", "val"]
    assert "dataset.fold chooses the split, and column 'split' is not used" in table.notes


@pytest.mark.parametrize(
    ("folds", "fold", "message"),
    [
        ([0, 1, 2], 3, "dataset.fold: 3 is not among the folds of column 'fold', 0 to 2"),
        (
            [0, 1, 0],
            0,
            "column 'fold' has 2 folds; a run needs 3 or more: one for testing, one for validation, the others for "
            "training",
        ),
        ([0, 1, 3], 0, "column 'fold': no row is in fold 2, though there is a fold 3"),
    ],
)
def test_folds_that_cannot_be_used(folds, fold, message):
    with pytest.raises((ConfigError, DataError)) as error:
        split_by_fold(np.array(folds), fold, "fold")
    assert str(error.value) == message


def test_a_fold_without_a_column(tmp_path):
    path = write(tmp_path, FOLDS.replace("fold", "folds"))
    with pytest.raises(ConfigError) as error:
        manifest(path, fold=0)
    assert str(error.value) == (
        "dataset.fold_column: my.csv has no column 'fold'; did you mean 'folds'? (it has text, age, folds, label)"
    )
    with pytest.raises(DataError) as error:
        manifest(write(tmp_path, FOLDS.replace(",0,a", ",x,a")), fold=0)
    assert str(error.value).startswith("my.csv:2: column 'fold': 'x' is not the number of a fold; write 0, 1, 2 ...")
