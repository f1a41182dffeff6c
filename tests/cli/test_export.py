"""mmrun export: a finished run as ONNX and torch.export, and a script that predicts without mmrun."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from mmrun.deploy import export as deploy_export
from tests.people import rows, write

# Runs a script as `python FILE` would, in an interpreter in which only the named libraries can be imported
ALONE = """
import importlib.abc, runpy, sys
from importlib.machinery import PathFinder
NAMES = {"numpy", "onnxruntime", "PIL", "soundfile", "_soundfile", "_soundfile_data", "cffi", "_cffi_backend",
         "tokenizers", "flatbuffers", "google", "packaging", "typing_extensions", "mmrun", "predict_onnx",
         *sys.argv[1].split()}  # with what these import

class OnlyNamed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in NAMES or top in sys.stdlib_module_names:
            return PathFinder.find_spec(name, path, target)

sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [OnlyNamed()]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def onnx():
    for name in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(name)


def run_alone(*arguments, extra=""):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", ALONE, extra, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def assert_same_predictions(file, other_file):
    with open(file, newline="") as stream, open(other_file, newline="") as other_stream:
        header, *lines = csv.reader(stream)
        other_header, *other_lines = csv.reader(other_stream)
    assert header == other_header
    assert len(lines) == len(other_lines) > 0
    for cells, other_cells in zip(lines, other_lines, strict=True):
        for cell, other in zip(cells, other_cells, strict=True):
            assert cell == other or float(cell) == pytest.approx(float(other), rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_torch_files_compute_what_the_run_does(shell, moved_run, tmp_path):
    write(tmp_path / "new.csv", ["note", "weight", "height", "name"], list(rows())[:40])
    code, out, err = shell("export", moved_run, "--format", "torch", "-o", "model", "--rows", "new.csv")
    assert (code, out) == (0, "model\n")
    assert "compared with the run on 40 rows (rows of new.csv), in batches, one by one and without each" in err
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md", "model.pt2", "preprocess.json",
    ]  # fmt: skip
    described = json.loads((tmp_path / "model" / "preprocess.json").read_text())
    assert described["id"] == "name"
    assert described["tasks"] == {
        "label": {"kind": "classification", "names": ["a", "b"]},
        "age": {"kind": "regression", "names": ["age"]},
    }
    assert described["inputs"]["note.ids"] == {"dtype": "int32", "shape": ["batch", 32]}  # a GRU's length is fixed
    assert described["outputs"]["scores.label"] == {"dtype": "float32", "shape": ["batch", 2]}
    module = torch.export.load(tmp_path / "model" / "model.pt2").module()
    blank = {}
    for name, tensor in described["inputs"].items():
        shape = [5 if size == "batch" else size for size in tensor["shape"]]
        blank[name] = torch.zeros(shape, dtype=getattr(torch, tensor["dtype"]))
    assert {name: list(output.shape) for name, output in module(blank).items()} == {
        "embedding": [5, 128], "scores.label": [5, 2], "scores.age": [5, 1],
    }  # fmt: skip


@pytest.mark.slow
def test_without_data_rows_of_noise_are_compared(shell, moved_run, tmp_path):
    code, out, err = shell("export", moved_run, "--format", "torch", "-o", "model")
    assert (code, out) == (0, "model\n")
    assert err.startswith("note: compared on rows of noise: its data is not there (")
    assert "16 rows (rows of noise)" in err


@pytest.mark.slow
def test_a_model_that_differs_is_refused(shell, moved_run, tmp_path):
    code, out, err = shell("export", moved_run, "--format", "torch", "-o", "model", "--tolerance", "1e-12")
    assert (code, out) == (1, "")
    assert err.startswith("mmrun: model.pt2 differs from the run by ")
    assert err.endswith("more than --tolerance 1e-12; nothing is written\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "litert"], "--format litert: not built yet; use --format onnx, which converters to LiteRT read"),
        (
            ["--tolerance", "0"],
            "argument --tolerance: 0: must be above 0 (see `mmrun export -h`)",
        ),
        (["--format", "torch", "-o", "taken"], "taken: exists; remove it, or export elsewhere with -o FOLDER"),
        (
            ["--format", "torch", "--rows", "gone.csv"],
            "gone.csv: no such file; pass one with the columns that the run was trained on",
        ),
    ],
)
def test_wrong_arguments_are_refused(shell, moved_run, tmp_path, arguments, message):
    (tmp_path / "taken").mkdir()
    assert shell("export", moved_run, *arguments) == (2, "", f"mmrun: {message}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_missing_libraries_are_named(shell, moved_run, monkeypatch):
    monkeypatch.setattr(deploy_export, "find_spec", lambda name: None)
    code, out, err = shell("export", moved_run)
    assert (code, out) == (2, "")
    assert err.startswith("mmrun: --format onnx: onnx, onnxscript, onnxruntime are not installed; ")
    assert "install onnx onnxscript onnxruntime" in " ".join(err.split())


# --------------------------------------------------------------------------------- a run with a modality of each kind

HEADER = ["id", "photo", "sound", "note", "size", "colour", "sensor", "split", "label", "tags", "price"]


def write_data(folder, number=48):
    generator = np.random.default_rng(0)
    for row in range(number):
        Image.fromarray(generator.integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(folder / f"{row}.png")
        soundfile.write(folder / f"{row}.wav", generator.uniform(-0.5, 0.5, 3000 + 50 * row), 11025)
    with open(folder / "rows.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADER)
        for row in range(number):
            split = ("train", "train", "val", "test")[row % 4]
            label, price = ("=cat", "dog")[row // 4 % 2], 1000 + 37 * row
            note = "" if row % 7 == 3 else f"note {row % 5} of a {label}"
            sensor = json.dumps(generator.normal(size=12 + row % 4).round(3).tolist())
            size = "NA" if row % 5 == 0 else row / 3
            photo, colour = ("" if row % 11 == 5 else f"{row}.png"), ("red", "blue")[row % 2]
            tags = ("new", "new|old", "old")[row % 3]
            writer.writerow([f"r{row}", photo, f"{row}.wav", note, size, colour, sensor, split, label, tags, price])


@pytest.fixture(scope="module")
def mixed_run(tmp_path_factory):
    """A run with a modality of each kind, and tasks of three kinds; its data is still there."""
    from mmrun.cli import main

    folder = tmp_path_factory.mktemp("mixed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MMRUN_CACHE", str(folder / "cache"))
        write_data(folder)
        modalities = "{photo:photo,sound:sound,note:note,cells:[size,colour],sensor:sensor}"
        kinds = "{photo:image,sound:audio,note:text,cells:tabular,sensor:series}"
        overrides = [
            *("dataset=manifest", "dataset.path=rows.csv", "dataset.target=[label,tags,price]", "dataset.id=id"),
            *(f"dataset.columns={modalities}", f"dataset.kinds={kinds}", "dataset.task={tags:multilabel}"),
            *("encoder.photo=lenet", "encoder.sound=mfcc", "encoder.note=bow", "encoder.sensor=cnn1d"),
            *("budget.epochs=1", "trainer.progress=false"),
        ]
        assert main(["train", *overrides]) == 0
    [trained] = (folder / "outputs").glob("*/*")
    return trained


@pytest.mark.slow
def test_the_script_predicts_what_the_run_does_without_mmrun_and_torch(shell, mixed_run, tmp_path, onnx, monkeypatch):
    data = mixed_run.parents[2]
    monkeypatch.chdir(data)
    code, _, err = shell("export", mixed_run, "-o", tmp_path / "model")
    assert code == 0, err
    assert "compared with the run on 12 rows (test rows)" in err
    assert shell("predict", mixed_run, "rows.csv", "-o", tmp_path / "expected.csv")[0] == 0
    monkeypatch.chdir(tmp_path)
    done = run_alone("model/predict_onnx.py", data / "rows.csv", "-o", "actual.csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same_predictions(Path("actual.csv"), Path("expected.csv"))


@pytest.mark.slow
def test_the_script_predicts_without_a_modality_and_refuses_bad_rows(shell, mixed_run, tmp_path, onnx, monkeypatch):
    data = mixed_run.parents[2]
    monkeypatch.chdir(data)
    assert shell("export", mixed_run, "-o", tmp_path / "model")[0] == 0
    monkeypatch.chdir(tmp_path)
    Path("few.csv").write_text("note,size,colour\na note,3,red\n,4,green\n")
    assert shell("predict", mixed_run, "few.csv", "-o", "expected.csv")[0] == 0
    done = run_alone("model/predict_onnx.py", "few.csv", "-o", "actual.csv")
    assert done.stderr == "".join(
        f"note: few.csv has no {name}: predicted without it\n" for name in ("photo", "sound", "sensor")
    )
    assert_same_predictions(Path("actual.csv"), Path("expected.csv"))
    Path("bad.csv").write_text("note,size,colour\na note,3,red\na note,big,green\n")
    done = run_alone("model/predict_onnx.py", "bad.csv", "-o", "actual.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "bad.csv:3: cells: 'size' is 'big', but it is a number in all training rows"
    )
    assert_same_predictions(Path("actual.csv"), Path("expected.csv"))
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []
    Path("broken.png").write_bytes(b"no picture")
    for name, text, message in (
        ("picture.csv", "photo\nbroken.png\n", "picture.csv:2: photo: cannot identify image file"),
        ("quotes.csv", 'note\n"a\n', "quotes.csv: unexpected end of data"),
        ("lines.jsonl", '{"note"\n', "lines.jsonl: Expecting ':' delimiter"),
        ("other.csv", "word\na\n", "other.csv: has none of the columns of photo, sound, note, cells, sensor"),
        ("rows.xlsx", "", "rows.xlsx: '.xlsx' is not read here; write it as .csv or .jsonl"),
    ):
        Path(name).write_text(text)
        done = run_alone("model/predict_onnx.py", name)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1].startswith(message)
