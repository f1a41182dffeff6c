"""Predict the rows of a file with the exported model beside this script, without PyTorch.

Usage: python predict_onnx.py ROWS.csv -o PREDICTIONS.csv

ROWS is CSV, TSV, JSON Lines, Parquet or Excel. `mmrun export` wrote this file beside the model and preprocess.json,
and into `lib` the part of mmrun that reads rows, so that they are decoded as in training. It may be changed: it is
yours.
It needs numpy, and onnxruntime for model.onnx or ai-edge-litert for model.tflite; Pillow for images, av for videos,
soundfile for sounds, tokenizers for texts, pyarrow for Parquet, openpyxl for Excel.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
if (FOLDER / "lib").is_dir():
    sys.path.insert(0, str(FOLDER / "lib"))

import numpy as np  # noqa: E402

from mmrun.data.preprocess.audio import Waveform  # noqa: E402
from mmrun.data.preprocess.image import Pixels  # noqa: E402
from mmrun.data.preprocess.items import restore  # noqa: E402
from mmrun.data.preprocess.points import Points  # noqa: E402
from mmrun.data.preprocess.series import Steps  # noqa: E402
from mmrun.data.preprocess.tabular import Cells  # noqa: E402
from mmrun.data.preprocess.text import Tokens  # noqa: E402
from mmrun.data.preprocess.video import Frames  # noqa: E402
from mmrun.data.table import Column  # noqa: E402
from mmrun.deploy.rows import Rows, read_rows  # noqa: E402
from mmrun.deploy.run_models import RunModel, open_litert, open_onnx  # noqa: E402
from mmrun.errors import DataError, MmrunError  # noqa: E402

BATCH_SIZE = 32
FORMULA_STARTS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")  # what spreadsheets take for a formula
PREPROCESSORS: dict[str, Callable[[], Any]] = {  # by kind; what is fitted is restored
    "image": lambda: Pixels(size=1),
    "audio": lambda: Waveform(sample_rate=8000),
    "text": Tokens,
    "series": Steps,
    "points": Points,
    "tabular": Cells,
    "video": lambda: Frames(num_frames=1, size=1),
}

Parts = dict[str, np.ndarray]  # of one modality in one row
Outputs = Mapping[str, np.ndarray]  # of the model, by name


class ExportedRun:
    """What preprocess.json says of the run: how its rows are read and decoded, and what it predicts."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.name, self.modalities, self.formats = settings["run"], settings["modalities"], settings["formats"]
        self.dataset, self.tasks = settings, settings["tasks"]  # `id`, `encoding` and `allow_outside` of the data set
        self.preprocessors = {}
        for modality, spec in self.modalities.items():
            self.preprocessors[modality] = restore(PREPROCESSORS[spec["kind"]](), spec["state"])

    def decode(self, rows: Rows, numbers: range) -> dict[str, np.ndarray]:
        """Return some rows as inputs of the model; missing modalities are zeros, and marked in `present.NAME`."""
        decoded = {}
        for modality, spec in self.modalities.items():
            column = rows.columns.get(modality, Column(spec["kind"], [None] * len(rows.ids)))
            decoded[modality] = [self._decode_in_row(modality, column, number) for number in numbers]
        return self.stack(decoded)

    def _decode_in_row(self, modality: str, column: Column, number: int) -> Parts | None:
        try:
            return self.decode_value(modality, column.values[number])
        except DataError as error:
            raise DataError(f"{column.locate(number)}: {error}") from None

    def decode_value(self, modality: str, value: object) -> Parts | None:
        """Return the parts of a raw value; None where it is missing."""
        if value is None:
            return None
        parts: Parts = self.preprocessors[modality].decode(value)
        return parts

    def stack(self, decoded: Mapping[str, Sequence[Parts | None]]) -> dict[str, np.ndarray]:
        """Return decoded rows, by modality, as inputs of the model."""
        inputs: dict[str, np.ndarray] = {}
        for modality, spec in self.modalities.items():
            rows = decoded[modality]
            for part, blank in spec["parts"].items():
                zeros = np.zeros(blank["shape"], dtype=blank["dtype"])
                name = f"{modality}.{part}" if part else modality
                inputs[name] = np.stack([zeros if parts is None else parts[part] for parts in rows])
            inputs[f"present.{modality}"] = np.array([parts is not None for parts in rows])
        return inputs

    def name_outputs(self, outputs: Outputs) -> dict[str, list[Any]]:
        """Return the columns of the predictions: each target, and the probability of each class or label."""
        columns: dict[str, list[Any]] = {}
        for task, spec in self.tasks.items():
            scores, names = outputs[f"scores.{task}"], spec["names"]
            if spec["kind"] == "regression":
                columns.update(zip(names, scores.T.tolist(), strict=True))
                continue
            if spec["kind"] == "multilabel":
                columns[task] = ["|".join(np.array(names, dtype=object)[row >= 0.5]) for row in scores]
            else:
                columns[task] = [names[number] for number in scores.argmax(1)]
            columns.update(zip([f"{task}={name}" for name in names], scores.T.tolist(), strict=True))
        return columns


def open_model() -> RunModel:
    """Open the model beside this script."""
    onnx, litert = FOLDER / "model.onnx", FOLDER / "model.tflite"
    return open_onnx(onnx) if onnx.exists() else open_litert(litert)


def predict(run: ExportedRun, rows: Rows) -> Iterator[dict[str, list[Any]]]:
    """Yield the predictions of one batch of rows after the other, by column."""
    run_model = open_model()
    for start in range(0, len(rows.ids), BATCH_SIZE):
        numbers = range(start, min(start + BATCH_SIZE, len(rows.ids)))
        outputs = run_model(run.decode(rows, numbers))
        yield {"id": [rows.ids[number] for number in numbers]} | run.name_outputs(outputs)


def write_csv(batches: Iterator[dict[str, list[Any]]], stream: Any) -> None:
    """Write predictions as they come."""
    writer = csv.writer(stream, lineterminator="\n")
    for number, columns in enumerate(batches):
        if number == 0:
            writer.writerow(map(format_cell, columns))
        writer.writerows(map(format_cell, cells) for cells in zip(*columns.values(), strict=True))


def format_cell(cell: object) -> object:
    """Return a cell of a CSV file: nine digits of a number; an apostrophe before what would be a formula."""
    if isinstance(cell, float):
        return f"{cell:.9g}"
    if not str(cell).startswith(FORMULA_STARTS):
        return cell
    try:
        float(str(cell))
    except ValueError:
        return f"'{cell}"
    return cell


def write_atomically(output: Path, batches: Iterator[dict[str, list[Any]]]) -> None:
    """Write a file under another name first, so that an older one stays as it is if a row cannot be read."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as stream:
            write_csv(batches, stream)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)


def main() -> None:
    """Read the command line, and predict."""
    parser = argparse.ArgumentParser(description="Predict the rows of a file with an exported model.")
    parser.add_argument("file", type=Path, metavar="ROWS", help="CSV, TSV, JSON Lines, Parquet or Excel")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="a CSV file (default: stdout)")
    parser.add_argument("--root", type=Path, help="folder that file names are relative to (default: that of ROWS)")
    args = parser.parse_args()
    try:
        run = ExportedRun(json.loads((FOLDER / "preprocess.json").read_text(encoding="utf-8")))
        sheet_rows = read_rows(run, args.file, args.root)
        for modality in sheet_rows.missing_modalities:
            print(f"note: {args.file} has no {modality}: predicted without it", file=sys.stderr)
        for note in sheet_rows.notes:
            print(f"note: {note}", file=sys.stderr)
        batches = predict(run, sheet_rows.rows)
        if args.output is None:
            write_csv(batches, sys.stdout)
        else:
            write_atomically(args.output, batches)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{error.name} is not installed: {sys.executable} -m pip install {error.name}") from None
    except (MmrunError, OSError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
