"""A run that was exported as ONNX is served without torch, with the same answers."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from mmrun.cli import main
from mmrun.deploy.predictor import open_predictor
from mmrun.deploy.serve.cells import read_rows
from mmrun.deploy.serve.onnx_model import OnnxModel
from mmrun.deploy.serve.problems import RequestError
from mmrun.deploy.serve.scratch import RequestFiles
from mmrun.deploy.serve.torch_model import TorchModel
from mmrun.errors import ConfigError, DamagedError
from mmrun.results.folder import RunFolder
from mmrun.training.callback import NullCallback
from tests.deploy.serve.malformed import claim_png, encode, save_objects
from tests.deploy.serve.test_app import ROW
from tests.deploy.serve.things import PAIRS, draw_photo, write_pairs


@pytest.fixture(scope="module")
def exported(things_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    assert main(["export", str(things_run), "-o", str(folder)]) == 0
    return folder


def predict(model, scratch, rows):
    with RequestFiles(scratch) as files:
        return model.predict([read_rows(model.schema, [row], files) for row in rows])


def test_answers_and_schema_are_those_of_the_run(exported, served, tmp_path):
    rows = [ROW, {"note": "a small thing"}, {**ROW, "city": "Paris", "photo": None}]
    model = OnnxModel(exported)
    expected = [served.post_rows([row]).json["rows"] for row in rows]
    for [answer], [row] in zip(predict(model, tmp_path, rows), expected, strict=True):
        assert answer["notes"] == row["notes"]
        scores, expected_scores = (each["predictions"]["label"]["scores"] for each in (answer, row))
        assert scores == pytest.approx(expected_scores, abs=1e-4)
    assert model.schema.to_json()["inputs"] == served.get("/schema").json["inputs"]


@pytest.mark.parametrize(
    ("row", "where", "what"),
    [
        (
            {"photo": encode(b"no picture")},
            "rows[0].photo",
            "the file is damaged or not an image (UnidentifiedImageError)",
        ),
        (
            {"photo": encode(claim_png(60_000, 60_000))},
            "rows[0].photo",
            "the file is refused: Image size (3600000000 pixels) exceeds limit of 178956970 pixels",
        ),
        ({"photo": encode(save_objects())}, "rows[0].photo", "is damaged or not a numeric array"),
        ({"sound": encode(b"no sound")}, "rows[0].sound", "the file is damaged or not an audio file (LibsndfileError)"),
        ({"weight": "heavy"}, "rows[0].body", "'weight' is 'heavy'"),
        ({"pulse": [[1], [2]]}, "rows[0].pulse", "a series with 2 channels, but the training rows have 1"),
    ],
)
def test_a_bad_row_is_the_error_of_its_request_alone(exported, tmp_path, row, where, what):
    good, bad = predict(OnnxModel(exported), tmp_path, [ROW, row])
    assert good[0]["predictions"]
    assert isinstance(bad, RequestError)
    assert (bad.status, bad.where) == (422, where)
    assert what in bad.what
    assert str(tmp_path) not in bad.what


def test_a_text_that_names_a_file_of_the_server_is_a_text(exported, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("a large thing " * 5)
    model = OnnxModel(exported)
    [[named], [other]] = predict(model, tmp_path, [{"note": str(secret)}, {"note": "a large thing " * 5}])
    assert named["predictions"] != other["predictions"]


def test_damaged_folders_are_one_line(exported, tmp_path):
    for name, content in (("model.onnx", b"no model"), ("preprocess.json", b"{}"), ("preprocess.json", b"[" * 5000)):
        folder = tmp_path / "copy"
        folder.mkdir(exist_ok=True)
        for file in exported.iterdir():
            if file.is_file():
                (folder / file.name).write_bytes(file.read_bytes())
        (folder / name).write_bytes(content)
        with pytest.raises(DamagedError, match=r"^[^\n]*damaged, or not what mmrun export wrote[^\n]*$"):
            OnnxModel(folder)
    (folder / "preprocess.json").write_bytes((exported / "preprocess.json").read_bytes())
    (folder / "predict_onnx.py").unlink()
    with pytest.raises(ConfigError, match="serve the run itself"):
        OnnxModel(folder)


def test_cells_of_several_pictures_and_encoded_categories_are_answered_as_by_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMRUN_CACHE", str(tmp_path / "cache"))
    write_pairs(tmp_path)
    assert main(["train", *PAIRS]) == 0
    [run] = (tmp_path / "outputs").glob("*/*")
    assert main(["export", str(run), "-o", "onnx"]) == 0
    photos = [encode(draw_photo(label)) for label in (0, 1)]
    rows = [{"photo": photos}, {"photo": photos[0], "city": "Paris"}, {"photo": [photos[1]] * 3, "city": "Rome"}]
    of_torch = predict(TorchModel(open_predictor(RunFolder(run), NullCallback())), tmp_path, rows)
    of_onnx = predict(OnnxModel(tmp_path / "onnx"), tmp_path, rows)
    assert [answer["notes"] for [answer] in of_torch] == [
        ["no body: predicted without it"],
        ["'city' is 'Paris', which no training row has: read as unknown"],
        [],
    ]
    for [actual], [expected] in zip(of_onnx, of_torch, strict=True):
        assert actual["notes"] == expected["notes"]
        scores, expected_scores = (each["predictions"]["label"]["scores"] for each in (actual, expected))
        assert scores == pytest.approx(expected_scores, abs=1e-4)


def test_torch_is_not_imported(exported, tmp_path):
    code = f"""
import json, sys
from pathlib import Path
import mmrun.deploy.serve.app, mmrun.deploy.serve.server
from mmrun.deploy.serve.loading import is_exported, open_exported
assert is_exported(Path({str(exported)!r}))
model = open_exported(Path({str(exported)!r}), None, Path({str(tmp_path)!r}))
print(json.dumps([model.schema.run, "torch" in sys.modules]))
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(process.stdout)[1] is False
