"""`dataset=PATH`: the same pictures are the same experiment, however their files are laid out."""

import json

from mmrun import compose
from mmrun.run import pipeline
from mmrun.training.callback import NullCallback
from tests.data.folders.trees import LAYOUTS, write_tree


def test_the_same_pictures_give_the_same_metrics(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = tmp_path / "tree"
    write_tree(tree)
    metrics = {}
    for layout in ("folders by split and class", "csv", "metadata.jsonl", "webdataset", "zip"):
        path = LAYOUTS[layout](tmp_path, tree)
        overrides = [f"dataset={path}", "encoder.image=lenet", "budget.epochs=1", "trainer.batch_size=8", "cache=cache"]
        folder = pipeline.run(compose.load([*overrides, f"outputs={layout.replace(' ', '_')}"]), NullCallback())
        metrics[layout] = json.loads(folder.metrics_file.read_text())["metrics"]["test"]
    first = metrics["csv"]
    assert list(metrics.values()) == [first] * 5
