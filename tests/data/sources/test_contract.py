"""The contract of every data set, over all YAML files."""

import pytest

from mmrun.compose import list_options, load_option
from mmrun.config import LABELS
from mmrun.data.table import SPLITS, Table
from mmrun.errors import DataError
from mmrun.instantiate import instantiate
from mmrun.types import KINDS as ALL_KINDS

DATASETS = list_options("dataset")


def open_option(name: str, tmp_path) -> Table:
    node = load_option("dataset", name)
    if name == "manifest":
        path = tmp_path / "my.csv"
        path.write_text("age,label\n" + "".join(f"{row},{row % 2}\n" for row in range(30)))
        node["path"] = str(path)
    try:
        return instantiate(node, "dataset", drop=LABELS)
    except DataError as error:
        if name in ("avdigits", "easy_vqa"):
            pytest.skip(str(error))
        raise


def test_all_data_sets_are_found():
    assert {"avdigits", "digits", "easy_vqa", "manifest", "synthetic"} <= set(DATASETS)


@pytest.mark.parametrize("name", DATASETS)
def test_contract(name, tmp_path):
    table = open_option(name, tmp_path)
    num_rows = len(table.ids)
    assert len(set(table.ids)) == num_rows
    assert set(table.split) == set(SPLITS)
    assert len(table.split) == num_rows
    for column in table.columns.values():
        assert column.kind in ALL_KINDS
        assert len(column.values) == num_rows
    for target in table.targets.values():
        assert len(target.values) == num_rows
        assert target.task in ("classification", "multilabel", "regression")
    node = load_option("dataset", name)
    assert node["labelled"] == 1.0
    if name != "manifest":
        assert node["kinds"] == {modality: column.kind for modality, column in table.columns.items()}
    again = open_option(name, tmp_path)
    assert again.fingerprint == table.fingerprint
    assert (again.split == table.split).all()
