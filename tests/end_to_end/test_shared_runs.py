"""A run on a local pretrained model is pushed, and pulled where that model is not."""

import shutil

import mmrun
from tests.deploy.conftest import hub as hub
from tests.deploy.fake_hub import read_uploads


def test_a_run_on_a_local_model_predicts_without_it(hub, shell, tiny_model, tmp_path):
    model = shutil.copytree(tiny_model("clip"), tmp_path / "lovelace" / "clip")
    shell.words = ["budget.steps=2", "trainer.batch_size=16", "trainer.progress=false", "dataset.labelled=0.05"]
    folder = shell.train("model=clip", f"model.path={model}")
    rows = [{"text": "seven"}, {"text": "zwei"}]
    predictions = mmrun.load(folder).predict(rows)
    code, _, err = shell("push", folder, "hf://ada/digits")
    assert code == 0, err
    shutil.rmtree(model.parent)
    assert mmrun.load("hf://ada/digits").predict(rows) == predictions
    assert b"lovelace" not in read_uploads(hub)
