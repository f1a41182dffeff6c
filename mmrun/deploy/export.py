"""A finished run as a model that needs neither mmrun nor, as ONNX, PyTorch: compared with the run before it is kept."""

import json
import os
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
import torch
from torch.export import ExportedProgram

from mmrun.deploy.agreement import MAX_ROWS, Agreement, CheckedRows, choose_rows, gather_inputs, measure_agreement
from mmrun.deploy.graph import Graph, Inputs, list_shapes, save_onnx, trace
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.quantized_export import (
    MAX_MEASURED_ROWS,
    QuantizationRecord,
    QuantizationRequest,
    read_calibration,
    replace_by_quantized,
)
from mmrun.deploy.run_models import open_onnx, open_torch
from mmrun.deploy.standalone import SCRIPT, write_script
from mmrun.deploy.synthetic import MAKERS, get_item_class, make_rows
from mmrun.errors import ConfigError, RunError, StorageError
from mmrun.installation import format_pip_command
from mmrun.results.schema import FittedModality
from mmrun.version import __version__

MODEL_FILES = {"onnx": "model.onnx", "torch": "model.pt2"}
PREPROCESSING = "preprocess.json"
QUANTIZATION = "quantization.json"
FORMAT = 1  # of preprocess.json
LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": ()}
TOLERANCE, INT8_TOLERANCE = 1e-4, 0.05  # in 8 bits, the last digit of a number may decide how it is rounded
NUM_TRACED = 3  # rows; one would be taken for a constant

README = """# {run}

Exported by mmrun {version}; compared on {num_rows} {source}: the largest difference to the run is {difference:.1e}.

- `{model}`: from decoded parts of rows to scores; any number of rows. `present.NAME` says which rows have a modality.
- `preprocess.json`: how rows are decoded (fitted to the training rows), class names, inputs and outputs of the model.
{usage}

Inputs: {inputs}.
Outputs: {outputs}.
"""
SCRIPT_USAGE = (
    "- `predict_onnx.py`: `python predict_onnx.py ROWS.csv -o PREDICTIONS.csv`; needs only onnxruntime, numpy, Pillow, "
    "soundfile and tokenizers, pyarrow for Parquet, openpyxl for Excel. `lib` is the part of mmrun that reads rows."
)
QUANTIZATION_USAGE = (
    "- `quantization.json`: layers with weights compute in 8 bits; how, and what that costs and gains. The difference "
    "above is that of the model in 32 bits, from which it was made."
)
OWN_USAGE = {
    "onnx": "- In Python: `onnxruntime.InferenceSession('model.onnx').run(None, {'NAME': array, ...})`.",
    "torch": "- In Python: `torch.export.load('model.pt2').module()({'NAME': tensor, ...})`, all inputs in this order.",
}


class Tensors(TypedDict):
    """An input or output of a model: its type, and its sizes, names where they vary."""

    dtype: str
    shape: list[int | str]


class TaskOutputs(TypedDict):
    """What the scores of a task are: its kind, and the names of classes, labels or numbers."""

    kind: str
    names: list[str]


class Preprocessing(TypedDict):
    """What preprocess.json holds.

    Attributes:
        format: of this file.
        version: of mmrun that wrote it.
        run: name of the run.
        id: column that names the rows; None: none.
        encoding: of a CSV file that is not Unicode.
        allow_outside: whether file names may lead out of the folder of the rows.
        formats: how numbers and dates are written, by column; only of columns that are not plain.
        modalities: how each is read, by name.
        tasks: what is predicted, by name.
        inputs: of the model, by name.
        outputs: of the model, by name.
    """

    format: int
    version: str
    run: str
    id: str | None
    encoding: str | None
    allow_outside: bool
    formats: dict[str, dict[str, Any]]
    modalities: dict[str, FittedModality]
    tasks: dict[str, TaskOutputs]
    inputs: dict[str, Tensors]
    outputs: dict[str, Tensors]


class Exported(NamedTuple):
    """What was exported.

    Attributes:
        model: its file.
        checked: rows that it was compared on.
        num_rows: how many these are.
        agreement: with the run.
        notes: what is left out, and why; one line each.
        quantization: what it costs and gains; None if the model was not quantized.
    """

    model: Path
    checked: CheckedRows
    num_rows: int
    agreement: Agreement
    notes: list[str]
    quantization: QuantizationRecord | None = None


@dataclass(frozen=True)
class ExportRequest:
    """What the user wants.

    Attributes:
        model_format: onnx | torch.
        rows: a file of rows to compare on; None: the run's test rows, or rows of noise.
        tolerance: the largest difference that is accepted before quantization; see `Agreement`. None: TOLERANCE, or
            that of runs in 8 bits.
        quantization: None: the model stays in fp32.
    """

    model_format: str
    rows: Path | None
    tolerance: float | None
    quantization: QuantizationRequest | None = None


def export(predictor: Predictor, output: Path, request: ExportRequest) -> Exported:
    """Write the model of a run, its preprocessing and a script that predicts with it into a new folder.

    Args:
        predictor: of the run, on the CPU.
        output: the folder; it must not exist.
        request: the format, and what is refused.

    Raises:
        ConfigError: the folder exists, a library is not installed, or the rows cannot be read.
        RunError: a part of the model cannot be exported, the exported model differs from the run, or it predicts worse
            in 8 bits. No folder is left.
        StorageError: the folder cannot be written.
    """
    check_libraries(request.model_format)
    if output.exists():
        raise ConfigError(f"{output}: exists; remove it, or export elsewhere with -o FOLDER")
    unfinished = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        exported = _export(predictor, unfinished, request)
        unfinished.rename(output)
    except OSError as error:
        raise StorageError(f"{output}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return exported._replace(model=output / exported.model.name)


def check_libraries(model_format: str) -> None:
    """Raise a ConfigError if a library is not installed that a format needs.

    Args:
        model_format: onnx | torch.
    """
    missing = [name for name in LIBRARIES[model_format] if find_spec(name) is None]
    if missing:
        command = format_pip_command("install", *missing)
        verb = "is" if len(missing) == 1 else "are"
        raise ConfigError(f"--format {model_format}: {', '.join(missing)} {verb} not installed; {command}")


def _export(predictor: Predictor, folder: Path, request: ExportRequest) -> Exported:
    calibration = None if request.quantization is None else read_calibration(predictor, request.quantization)
    checked = choose_rows(predictor, request.rows, MAX_ROWS if request.quantization is None else MAX_MEASURED_ROWS)
    graph = Graph(predictor).eval()
    inputs = _example_inputs(predictor, checked)
    program = trace(graph, inputs)
    model = folder / MODEL_FILES[request.model_format]
    if request.model_format == "onnx":
        save_onnx(program, graph, inputs, model)
        run_model = open_onnx(model)
    else:
        torch.export.save(program, model)
        run_model = open_torch(model)
    agreement = measure_agreement(predictor, run_model, checked.rows, _can_crop(predictor, program, inputs))
    default = INT8_TOLERANCE if predictor.folder.is_int8 else TOLERANCE
    tolerance = default if request.tolerance is None else request.tolerance
    if not agreement.difference <= tolerance:
        raise RunError(
            f"{model.name} differs from the run by {agreement.difference:.1e} ({agreement.where}), more than "
            f"--tolerance {tolerance:g}; nothing is written"
        )
    notes = [f"compared on rows of noise: {checked.note}"] if checked.note else []
    quantization = None
    if request.quantization is not None:
        quantization = replace_by_quantized(predictor, graph, model, request.quantization, calibration, checked)
        _write_json(quantization, folder / QUANTIZATION)
    if request.model_format == "onnx":
        notes += write_script(predictor, folder)
    num_rows = min(len(checked.rows.ids), MAX_ROWS)
    exported = Exported(model, checked, num_rows, agreement, notes, quantization)
    preprocessing = describe_preprocessing(predictor, program, inputs)
    _write_json(preprocessing, folder / PREPROCESSING)
    (folder / "README.md").write_text(_write_readme(exported, preprocessing, folder), encoding="utf-8")
    return exported


def _write_json(value: object, file: Path) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def _example_inputs(predictor: Predictor, checked: CheckedRows) -> Inputs:
    """Return inputs to trace with: rows of noise, or repeated ones of the user's file."""
    is_own = all(get_item_class(preprocessor) in MAKERS for preprocessor in predictor.fitted.preprocessors.values())
    rows = make_rows(predictor, NUM_TRACED) if is_own else checked.rows
    numbers = np.arange(NUM_TRACED) % len(rows.ids)
    return gather_inputs(predictor.decode(rows, numbers), torch.arange(NUM_TRACED))


def describe_preprocessing(predictor: Predictor, program: ExportedProgram, inputs: Inputs) -> Preprocessing:
    """Return what preprocess.json holds.

    Args:
        predictor: of the run.
        program: the traced graph.
        inputs: that it was traced with.
    """
    dataset = predictor.config.dataset
    tasks: dict[str, TaskOutputs] = {}
    outputs: dict[str, Tensors] = {"embedding": {"dtype": "float32", "shape": ["batch", predictor.embedding_dim]}}
    for name, task in predictor.record["tasks"].items():
        arguments = task["arguments"]
        names = arguments.get("classes") or arguments.get("labels") or arguments.get("outputs")
        tasks[name] = {"kind": task["kind"], "names": cast(list[str], names)}
        outputs[f"scores.{name}"] = {"dtype": "float32", "shape": ["batch", len(tasks[name]["names"])]}
    described: dict[str, Tensors] = {}
    for name, shape in list_shapes(program, inputs).items():
        described[name] = {"dtype": str(inputs[name].numpy().dtype), "shape": shape}
    modalities: dict[str, FittedModality] = {}
    for modality, spec in predictor.modalities.items():
        modalities[modality] = {**spec, "columns": spec["columns"] or [modality]}
    return {
        "format": FORMAT,
        "version": __version__,
        "run": predictor.name,
        "id": dataset.get("id"),
        "encoding": dataset.get("encoding"),
        "allow_outside": bool(dataset.get("allow_outside", False)),
        "formats": predictor.formats,
        "modalities": modalities,
        "tasks": tasks,
        "inputs": described,
        "outputs": outputs,
    }


def _can_crop(predictor: Predictor, program: ExportedProgram, inputs: Inputs) -> bool:
    """Return whether there are texts, and all of them may have any length."""
    texts = [modality for modality, spec in predictor.modalities.items() if spec["kind"] == "text"]
    shapes = list_shapes(program, inputs)
    return bool(texts) and all(shapes[f"{text}.ids"][1] == "length" for text in texts)


def _write_readme(exported: Exported, preprocessing: Preprocessing, folder: Path) -> str:
    has_script = (folder / SCRIPT).exists()
    usage = SCRIPT_USAGE if has_script else OWN_USAGE["onnx" if exported.model.suffix == ".onnx" else "torch"]
    if exported.quantization is not None:
        usage = f"{QUANTIZATION_USAGE}\n{usage}"
    return README.format(
        run=preprocessing["run"],
        version=preprocessing["version"],
        num_rows=exported.num_rows,
        source=exported.checked.source,
        difference=exported.agreement.difference,
        model=exported.model.name,
        usage=usage,
        inputs=", ".join(f"`{name}` {_format_tensor(tensor)}" for name, tensor in preprocessing["inputs"].items()),
        outputs=", ".join(f"`{name}` {_format_tensor(tensor)}" for name, tensor in preprocessing["outputs"].items()),
    )


def _format_tensor(tensor: Tensors) -> str:
    return f"{tensor['dtype']} [{', '.join(map(str, tensor['shape']))}]"
