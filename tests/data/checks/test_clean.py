import json

import numpy as np
import pytest
from PIL import Image

from mmrun.data.checks.clean import rebase_files
from mmrun.data.sheets.table_files import read_sheet
from mmrun.data.sources.manifest import manifest


@pytest.mark.parametrize(
    ("cell", "rebased"),
    [
        ("a.png", "data/a.png"),
        ("a.png|b.png", "data/a.png|data/b.png"),
        ("a.png; b.png", "data/a.png|data/b.png"),
        (["a.png", "b.png"], ["data/a.png", "data/b.png"]),
        (["a.png"], ["data/a.png"]),
        ("NA", "NA"),
    ],
)
def test_names_of_files_start_from_another_folder(tmp_path, cell, rebased):
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("L", (4, 4)).save(folder / name)
    cells = [cell, *["a.png"] * 30]
    lines = [json.dumps({"photo": cell, "x": row / 3, "label": row % 2}) for row, cell in enumerate(cells)]
    (folder / "my.jsonl").write_text("\n".join(lines))
    table = manifest(str(folder / "my.jsonl"))
    columns = rebase_files(read_sheet(folder / "my.jsonl"), table, np.arange(len(cells)), tmp_path)
    assert columns["photo"][0] == rebased
