"""The script that predicts without PyTorch, and the modules of mmrun that are copied beside it."""

from pathlib import Path

import numpy as np
import pytest

from mmrun.deploy import predict_exported as script
from mmrun.deploy.standalone import LATE_IMPORTS, PACKAGE, list_modules
from mmrun.results.csv import escape_formula

HEAVY = ("torch", "pyarrow", "scipy", "transformers", "hydra", "omegaconf", "rich")


def list_names():
    return [str(file.relative_to(PACKAGE)) for file in list_modules(Path(script.__file__))]


def test_the_modules_that_read_rows_are_copied_and_no_others():
    names = list_names()
    assert {"errors.py", "deploy/rows.py", "data/sheets/formats.py", "data/sheets/parquet.py"} <= set(names)
    assert not [name for name in names if name.startswith(("models", "training", "run", "results", "cli"))]


@pytest.mark.parametrize("name", list_names())
def test_copied_modules_import_no_large_library_at_once(name):
    if f"mmrun/{name}" in [f"{module.replace('.', '/')}.py" for module in LATE_IMPORTS]:
        return  # which are imported only where pyarrow is installed
    forbidden = tuple(f"{verb} {library}" for verb in ("import", "from") for library in HEAVY)
    lines = (PACKAGE / name).read_text().splitlines()
    assert not [line for line in lines if line.startswith(forbidden)]


@pytest.mark.parametrize("cell", ["=1+1", "-5", "-a", "plain", "\uff1dx", "", "@x", "+1e3"])
def test_formulas_are_escaped_as_mmrun_predict_does(cell):
    assert script.format_cell(cell) == escape_formula(cell)


def test_outputs_have_the_names_of_their_classes():
    run = script.ExportedRun({
        "run": "r", "modalities": {}, "formats": {}, "tasks": {
            "label": {"kind": "classification", "names": ["cat", "dog"]},
            "tags": {"kind": "multilabel", "names": ["new", "old"]},
            "price": {"kind": "regression", "names": ["price"]},
        },
    })  # fmt: skip
    scores = {"label": [[0.25, 0.75]], "tags": [[0.5, 0.5]], "price": [[3.5]]}
    outputs = {f"scores.{task}": np.array(values) for task, values in scores.items()}
    assert run.name_outputs(outputs) == {
        "label": ["dog"], "label=cat": [0.25], "label=dog": [0.75],
        "tags": ["new|old"], "tags=new": [0.5], "tags=old": [0.5], "price": [3.5],
    }  # fmt: skip
