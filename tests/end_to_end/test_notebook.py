"""docs/notebook.ipynb runs from top to bottom, with a smaller budget."""

import json
from pathlib import Path

import numpy as np

from mmrun.api import ComparisonTable

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


def read_code():
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_every_cell_runs_in_its_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    shown = []
    for source in read_code():
        *lines, last = source.replace("budget.epochs=4", "budget.epochs=0.1").splitlines()
        if last.startswith((" ", "\t")):  # the end of a loop shows nothing
            exec(source.replace("budget.epochs=4", "budget.epochs=0.1"), names)
        else:
            exec("\n".join(lines), names)
            shown.append(eval(last, names))
    runs, table, (shape, dtype), seconds = shown
    assert list(runs) == [("scratch", 0), ("scratch", 1), ("component", 0), ("component", 1)]
    assert isinstance(table, ComparisonTable)
    assert (shape, dtype) == ((3, 128), np.float32)
    assert list(seconds) == ["scratch, seed 0", "scratch, seed 1", "component, seed 0", "component, seed 1"]
    assert len(capsys.readouterr().out.splitlines()) == 3
