"""Contract checks for preprocessors, callbacks and data sources.

The first line of a check is printed as what it checks.
"""

import json
from pathlib import Path

import numpy as np
import torch

from mmrun.data.table import SPLITS, Column, Table
from mmrun.training.callback import Callback
from mmrun.training.state import TrainState
from mmrun.types import KINDS, Preprocessor

# ------------------------------------------------------------------------------------------------------ preprocessors


def check_decoding(preprocessor: Preprocessor, column: Column) -> None:
    """Decoded rows have equal names, shapes and types, and metadata names can be argument names.

    Args:
        preprocessor: to check; it is fitted on all rows.
        column: a few raw values, at least one of them present.

    Raises:
        AssertionError: the contract is broken.
    """
    rows = np.arange(len(column.values))
    preprocessor.fit(column, rows)
    decoded = [preprocessor.decode(value) for value in column.values if value is not None]
    for arrays in decoded:
        for name, array in arrays.items():
            first = decoded[0].get(name)
            assert isinstance(array, np.ndarray), f"part {name!r} is {type(array).__name__}, not an array"
            assert first is not None, f"part {name!r} is missing in the first row"
            assert (array.shape, array.dtype) == (first.shape, first.dtype), f"part {name!r} differs between rows"
    for name in preprocessor.metadata:
        assert name.isidentifier(), f"metadata {name!r} is not a valid argument name"


def check_state(preprocessor: Preprocessor, column: Column) -> None:
    """The state is JSON, and decoding is deterministic and does not change it.

    Args:
        preprocessor: to check; it is fitted on all rows.
        column: a few raw values, at least one of them present.

    Raises:
        AssertionError: the contract is broken.
    """
    preprocessor.fit(column, np.arange(len(column.values)))
    state = json.loads(json.dumps(preprocessor.state()))
    value = next(value for value in column.values if value is not None)
    first, second = preprocessor.decode(value), preprocessor.decode(value)
    assert all(np.array_equal(first[name], second[name]) for name in first), (
        "decoding the same row twice gives different arrays"
    )
    assert json.loads(json.dumps(preprocessor.state())) == state, "decoding changes the state"


# ---------------------------------------------------------------------------------------------------------- callbacks


def check_hooks(callback: Callback) -> None:
    """Every hook can be called in the order of a run, and metrics stay floats.

    Args:
        callback: to check.

    Raises:
        AssertionError: the contract is broken.
    """
    state, metrics = TrainState(step=1), {"train/loss": 1.0, "val/loss": 1.0}
    callback.on_run_start(Path(), ["train"])
    callback.on_step_end(state, {"loss": torch.tensor(1.0)})
    callback.on_evaluate_end(state, metrics)
    callback.on_best(state)
    callback.on_checkpoint(state)
    callback.on_out_of_memory(state)
    callback.on_message("a message")
    callback.on_run_end(Path())
    for name, value in metrics.items():
        assert isinstance(value, float), f"the metric {name} is {type(value).__name__}, not a float"


# ------------------------------------------------------------------------------------------------------- data sources


def check_table(table: Table) -> None:
    """Columns, targets and splits have one value per row; ids are unique; every split has rows.

    Args:
        table: what the data source returned.

    Raises:
        AssertionError: the contract is broken.
    """
    rows = len(table.ids)
    assert len(set(table.ids)) == rows, "two rows have the same id"
    assert table.columns, "the table has no column"
    assert table.targets, "the table has no target"
    assert table.fingerprint, "the table has no fingerprint"
    for name, column in table.columns.items():
        assert column.kind in KINDS, f"column {name}: kind {column.kind!r} is not one of {', '.join(KINDS)}"
        assert len(column.values) == rows, f"column {name} has {len(column.values)} values for {rows} rows"
    for name, target in table.targets.items():
        assert len(target.values) == rows, f"target {name} has {len(target.values)} values for {rows} rows"
    assert len(table.split) == rows, f"the split has {len(table.split)} values for {rows} rows"
    for split in SPLITS:
        assert len(table.rows(split)), f"the {split} split has no row"
