"""mmrun export: a finished run as ONNX and torch.export, and a script that predicts without mmrun."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openpyxl
import pyarrow
import pytest
import soundfile
import torch
from PIL import Image
from pyarrow import parquet

from mmrun.cli.terminal import Terminal
from mmrun.deploy import formats, quantized_export
from mmrun.deploy.agreement import decode, gather_inputs
from mmrun.deploy.predictor import open_predictor
from mmrun.deploy.rows import read_rows
from mmrun.installation import format_venv_command
from mmrun.results.index import resolve
from tests.people import rows, write
from tests.png import write_png

# Runs a script as `python FILE` would, in an interpreter in which only the named libraries can be imported
ALONE = """
import importlib.abc, runpy, sys
from importlib.machinery import PathFinder
NAMES = {"numpy", "onnxruntime", "PIL", "soundfile", "_soundfile", "_soundfile_data", "cffi", "_cffi_backend",
         "ai_edge_litert", "tokenizers", "flatbuffers", "google", "packaging", "typing_extensions", "mmrun",
         "predict_onnx", *sys.argv[1].split()}  # with what these import

class OnlyNamed(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in NAMES or top in sys.stdlib_module_names or top.startswith("_sysconfigdata"):
            return PathFinder.find_spec(name, path, target)

sys.meta_path = [finder for finder in sys.meta_path if finder is not PathFinder] + [OnlyNamed()]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--format", "litert", "--quantize", "int8"],
            "--quantize int8: cannot be combined with --format litert; use --format onnx",
        ),
        (
            ["--tolerance", "0"],
            "argument --tolerance: 0 is not a number above 0 (see `mmrun export -h`)",
        ),
        (["--calibrate", "rows.csv"], "--calibrate: belongs to --quantize int8; add it, or drop this"),
        (["--max-drop", "0"], "--max-drop: belongs to --quantize int8; add it, or drop this"),
        (
            ["--format", "torch", "--quantize", "int8"],
            "--quantize int8: cannot be combined with --format torch; use --format onnx",
        ),
        (
            ["--quantize", "int8", "--quantize-mode", "dynamic", "--calibrate", "rows.csv"],
            "--calibrate: --quantize-mode dynamic reads no rows before it predicts; drop one of them",
        ),
        (
            ["--quantize", "int8", "--max-drop", "-1"],
            "argument --max-drop: -1 is not a number of at least 0 (see `mmrun export -h`)",
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
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    code, out, err = shell("export", moved_run)
    assert (code, out) == (2, "")
    assert err.startswith("mmrun: --format onnx: onnx, onnxscript, onnxruntime are not installed; ")
    assert "install onnx onnxscript onnxruntime" in " ".join(err.split())
    code, out, err = shell("export", moved_run, "--format", "litert")
    assert (code, out) == (2, "")
    assert err == (
        "mmrun: --format litert: litert-torch is not installed, and needs an older torch than other parts of mmrun "
        f"may; {format_venv_command('litert')}, then export with litert/bin/mmrun\n"
    )


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
            photos = f"{row}.png|0.png" if row % 3 == 1 else f"{row}.png"
            photo, colour = ("" if row % 11 == 5 else photos), ("red", "blue")[row % 2]
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


@pytest.fixture(scope="module")
def exported_mixed_run(onnx, mixed_run, tmp_path_factory):
    """The folder with the mixed run as ONNX."""
    from mmrun.cli import main

    folder = tmp_path_factory.mktemp("exported") / "model"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(mixed_run.parents[2])
        assert main(["export", str(mixed_run), "-o", str(folder)]) == 0
    return folder


@pytest.mark.slow
def test_the_script_predicts_what_the_run_does_without_mmrun_and_torch(shell, mixed_run, exported_mixed_run, tmp_path):
    data = mixed_run.parents[2]
    assert shell("predict", mixed_run, data / "rows.csv", "-o", tmp_path / "expected.csv")[0] == 0
    done = run_alone(exported_mixed_run / "predict_onnx.py", data / "rows.csv", "-o", "actual.csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same_predictions(Path("actual.csv"), Path("expected.csv"))


@pytest.mark.slow
def test_the_script_predicts_without_a_modality_and_refuses_bad_rows(shell, mixed_run, exported_mixed_run):
    script = exported_mixed_run / "predict_onnx.py"
    Path("few.csv").write_text("note,size,colour\na note,3,red\n,4,green\n")
    assert shell("predict", mixed_run, "few.csv", "-o", "expected.csv")[0] == 0
    done = run_alone(script, "few.csv", "-o", "actual.csv")
    assert done.stderr == "".join(
        f"note: few.csv has no {name}: predicted without it\n" for name in ("photo", "sound", "sensor")
    ) + (
        "note: cells: column 'colour': 1 of 2 rows have a category that no training row has, the first is 'green'; "
        "they are read as unknown\n"
    )
    assert_same_predictions(Path("actual.csv"), Path("expected.csv"))
    Path("bad.csv").write_text("note,size,colour\na note,3,red\na note,big,green\n")
    done = run_alone(script, "bad.csv", "-o", "actual.csv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "bad.csv:3: columns 'size', 'colour': 'size' is 'big', but it is a number in all training rows"
    )
    assert_same_predictions(Path("actual.csv"), Path("expected.csv"))
    assert sorted(path.name for path in Path().iterdir() if path.name.startswith(".")) == []
    Path("broken.png").write_bytes(b"no picture")
    for name, text, message in (
        ("picture.csv", "photo\nbroken.png\n", "picture.csv:2: column 'photo': broken.png is "),
        ("quotes.csv", 'note\n"a\n', "quotes.csv:2: unexpected end of data; fix the quotes"),
        ("lines.jsonl", '{"note"\n', "lines.jsonl:1: is not JSON"),
        ("other.csv", "word\na\n", "other.csv: has none of the columns that the run reads (photo, sound, note, size"),
        ("rows.parquet", "", "pyarrow is not installed: "),
        ("rows.xlsx", "", "rows.xlsx: Excel files need openpyxl; install it with "),
    ):
        Path(name).write_text(text)
        done = run_alone(script, name)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.splitlines()[-1].startswith(message)


@pytest.mark.slow
def test_the_script_decodes_rows_to_the_bits_of_the_run(mixed_run, exported_mixed_run, tmp_path, monkeypatch):
    data = mixed_run.parents[2]
    monkeypatch.chdir(data)
    (tmp_path / "decode.py").write_text(
        "import json, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[3])\n"
        "import predict_onnx\n"
        "import numpy as np\n"
        "run = predict_onnx.ExportedRun(json.loads((predict_onnx.FOLDER / 'preprocess.json').read_text()))\n"
        "rows = predict_onnx.read_rows(run, Path(sys.argv[1])).rows\n"
        "np.savez(sys.argv[2], **run.decode(rows, range(len(rows.ids))))\n"
    )
    done = run_alone(tmp_path / "decode.py", data / "rows.csv", tmp_path / "decoded.npz", exported_mixed_run)
    assert done.stderr == ""
    predictor = open_predictor(resolve(str(mixed_run)), Terminal(live=False), on_cpu=True)
    expected = gather_inputs(decode(predictor, read_rows(predictor, data / "rows.csv").rows, 48), torch.arange(48))
    with np.load(tmp_path / "decoded.npz") as decoded:
        assert set(decoded) == set(expected)
        for name, tensor in expected.items():
            np.testing.assert_array_equal(decoded[name], tensor.numpy(), err_msg=name)


@pytest.mark.slow
def test_a_litert_file_and_its_script_predict_what_the_run_does(shell, mixed_run, tmp_path, monkeypatch):
    pytest.importorskip("litert_torch", reason="the extra litert is not installed; it needs an environment of its own")
    monkeypatch.chdir(mixed_run.parents[2])
    code, out, err = shell("export", mixed_run, "--format", "litert", "-o", tmp_path / "model")
    assert (code, out) == (0, f"{tmp_path / 'model'}\n"), err
    assert err.splitlines()[0] == "note: model.tflite predicts one row at a time"
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [
        "README.md", "lib", "model.tflite", "predict_litert.py", "preprocess.json",
    ]  # fmt: skip
    described = json.loads((tmp_path / "model" / "preprocess.json").read_text())
    assert described["inputs"]["sound.length"] == {"dtype": "int32", "shape": [1]}
    assert described["outputs"]["scores.label"] == {"dtype": "float32", "shape": [1, 2]}
    assert shell("predict", mixed_run, "rows.csv", "-o", tmp_path / "expected.csv")[0] == 0
    done = run_alone(tmp_path / "model" / "predict_litert.py", "rows.csv", "-o", tmp_path / "actual.csv")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_same_predictions(tmp_path / "actual.csv", tmp_path / "expected.csv")


# ------------------------------------------------------- numbers with units, dates, and pictures of 16 bits per colour


@pytest.fixture(scope="module")
def written_run(tmp_path_factory):
    """A run on a table with units, decimal commas and dates, and on pictures of 16 bits per colour."""
    from mmrun.cli import main

    folder = tmp_path_factory.mktemp("written")
    generator = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MMRUN_CACHE", str(folder / "cache"))
        with open(folder / "rows.csv", "w", newline="") as stream:
            writer = csv.writer(stream, delimiter=";")
            writer.writerow(["photo", "weight", "seen", "split", "label"])
            for row in range(24):
                write_png(folder / f"{row}.png", generator.integers(0, 65536, (9, 8, 3), dtype=np.uint16))
                split = ("train", "train", "val", "test")[row % 4]
                writer.writerow([f"{row}.png", f"{row},5 kg", f"{1 + row}.03.2024", split, "ab"[row // 4 % 2]])
        overrides = [
            *("dataset=manifest", "dataset.path=rows.csv", "dataset.target=label", "encoder.photo=lenet"),
            *("dataset.columns={photo:photo,cells:[weight,seen]}", "dataset.kinds={photo:image,cells:tabular}"),
            *("budget.epochs=1", "trainer.progress=false"),
        ]
        assert main(["train", *overrides]) == 0
    [trained] = (folder / "outputs").glob("*/*")
    return trained


@pytest.mark.slow
def test_the_script_reads_units_dates_deep_colours_parquet_and_excel(shell, written_run, tmp_path, onnx, monkeypatch):
    data = written_run.parents[2]
    monkeypatch.chdir(data)
    code, _, err = shell("export", written_run, "-o", tmp_path / "model")
    assert code == 0, err
    assert "compared with the run on 6 rows (test rows)" in err
    assert "left out" not in err
    assert shell("predict", written_run, "rows.csv", "-o", tmp_path / "expected.csv")[0] == 0
    with open(data / "rows.csv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    parquet.write_table(pyarrow.Table.from_pylist(rows), data / "rows.parquet")
    workbook = openpyxl.Workbook()
    workbook.active.append(list(rows[0]))
    for row in rows:
        workbook.active.append(list(row.values()))
    workbook.save(data / "rows.xlsx")
    for name, extra in (("rows.csv", ""), ("rows.parquet", "pyarrow"), ("rows.xlsx", "openpyxl et_xmlfile")):
        done = run_alone(
            tmp_path / "model" / "predict_onnx.py", data / name, "-o", tmp_path / "actual.csv", extra=extra
        )
        assert (done.returncode, done.stderr) == (0, ""), name
        assert_same_scores(tmp_path / "actual.csv", tmp_path / "expected.csv")


@pytest.mark.slow
def test_a_model_that_differs_is_refused(shell, written_run, tmp_path, monkeypatch):
    monkeypatch.chdir(written_run.parents[2])
    arguments = ("--format", "torch", "-o", tmp_path / "model", "--tolerance", "1e-12")
    code, out, err = shell("export", written_run, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("mmrun: model.pt2 differs from the run by ")
    assert err.endswith("more than --tolerance 1e-12; nothing is written\n")
    assert list(tmp_path.iterdir()) == []


def assert_same_scores(file, other_file):
    """Compare predictions without the names of the rows, which differ from file to file."""
    with open(file, newline="") as stream, open(other_file, newline="") as other_stream:
        for row, other in zip(csv.DictReader(stream), csv.DictReader(other_stream), strict=True):
            assert row["label"] == other["label"]
            assert float(row["label=a"]) == pytest.approx(float(other["label=a"]), abs=1e-5)


# -------------------------------------------------------------------------------------------------------------- 8 bits


@pytest.mark.slow
def test_a_model_in_8_bits_is_compared_with_its_run(shell, mixed_run, tmp_path, onnx, monkeypatch):
    monkeypatch.chdir(mixed_run.parents[2])
    code, out, err = shell("export", mixed_run, "--quantize", "int8", "--max-drop", "1", "-o", tmp_path / "model")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0] == str(tmp_path / "model")
    assert lines[1].startswith(
        "int8, static, asymmetric, per channel; ranges of 24 train rows; compared on 12 test rows; "
    )
    record = json.loads((tmp_path / "model" / "quantization.json").read_text())
    assert set(record["tasks"]) == {"label", "tags", "price"}
    assert (record["num_rows"], record["labels"]) == (12, 24)
    assert record["bytes"]["ONNX int8"] == (tmp_path / "model" / "model.onnx").stat().st_size
    assert record["bytes"]["ONNX int8"] < record["bytes"]["ONNX fp32"]
    assert set(record["milliseconds"]) == {"PyTorch", "ONNX fp32", "ONNX int8"}
    monkeypatch.chdir(tmp_path)
    done = run_alone("model/predict_onnx.py", mixed_run.parents[2] / "rows.csv")
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 49)


@pytest.mark.slow
def test_without_training_rows_calibration_needs_a_file(shell, moved_run, tmp_path, onnx):
    code, out, err = shell("export", moved_run, "--quantize", "int8", "-o", "model")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("mmrun: the training rows are not there (")
    assert err.endswith("; add --calibrate FILE, or --quantize-mode dynamic\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_metric_that_drops_too_much_is_refused(shell, mixed_run, tmp_path, onnx, monkeypatch):
    monkeypatch.chdir(mixed_run.parents[2])
    monkeypatch.setattr(quantized_export, "find_drop", lambda changes: ("price", 0.5))
    arguments = ("--quantize", "int8", "--quantize-mode", "dynamic", "-o", tmp_path / "model")
    code, out, err = shell("export", mixed_run, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("mmrun: price: r2 drops by 0.5000 in 8 bits (from ")
    assert err.endswith("on 12 test rows), more than --max-drop 0.01; nothing is written\n")
    assert list(tmp_path.iterdir()) == []
