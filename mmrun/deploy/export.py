"""A finished run as a model for other software: compared with the run before it is kept."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, cast

import numpy as np
import torch

from mmrun.deploy.agreement import MAX_ROWS, Agreement, CheckedRows, choose_rows, gather_inputs, measure_agreement
from mmrun.deploy.formats import FORMATS, ModelFormat, check_libraries
from mmrun.deploy.graph import Graph, Inputs, Tensors
from mmrun.deploy.predictor import Predictor
from mmrun.deploy.quantized_export import (
    MAX_MEASURED_ROWS,
    QuantizationRecord,
    QuantizationRequest,
    read_calibration,
    replace_by_quantized,
)
from mmrun.deploy.standalone import write_script
from mmrun.deploy.synthetic import MAKERS, get_item_class, make_rows
from mmrun.errors import ConfigError, RunError, StorageError
from mmrun.results.schema import FittedModality
from mmrun.version import __version__

PREPROCESSING = "preprocess.json"
QUANTIZATION = "quantization.json"
FORMAT = 1  # of preprocess.json
TOLERANCE, INT8_TOLERANCE = 1e-4, 0.05  # in 8 bits, the last digit of a number may decide how it is rounded
NUM_TRACED = 3  # rows; one would be taken for a constant

README = """# {run}

Exported by mmrun {version}; compared on {num_rows} {source}: the largest difference to the run is {difference:.1e}.

- `{model}`: from decoded parts of rows to scores. `present.NAME` says which rows have a modality.
- `preprocess.json`: how rows are decoded (fitted to the training rows), class names, inputs and outputs of the model.
{usage}

Inputs: {inputs}.
Outputs: {outputs}.
"""
SCRIPT_USAGE = (
    "- `{script}`: `python {script} ROWS.csv -o PREDICTIONS.csv`; needs only {runtime}, numpy, Pillow, soundfile and "
    "tokenizers, pyarrow for Parquet, openpyxl for Excel. `lib` is the part of mmrun that reads rows."
)
QUANTIZATION_USAGE = (
    "- `quantization.json`: layers with weights compute in 8 bits; how, and what that costs and gains. The difference "
    "above is that of the model in 32 bits, from which it was made."
)


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
        align: what of a stream belongs to a row, by modality; None: no cell names a stream.
        layout: of series, by modality; None: fitted to the training rows.
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
    align: dict[str, dict[str, Any]] | None
    layout: dict[str, str] | None
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
        model_format: a key of FORMATS.
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


def _export(predictor: Predictor, folder: Path, request: ExportRequest) -> Exported:
    calibration = None if request.quantization is None else read_calibration(predictor, request.quantization)
    checked = choose_rows(predictor, request.rows, MAX_ROWS if request.quantization is None else MAX_MEASURED_ROWS)
    graph = Graph(predictor).eval()
    model_format = FORMATS[request.model_format]
    model = folder / model_format.file
    inputs = model_format.save(graph, _example_inputs(predictor, checked), model)
    agreement = measure_agreement(predictor, model_format.open(model), checked.rows, _can_crop(predictor, inputs))
    default = INT8_TOLERANCE if predictor.folder.is_int8 else TOLERANCE
    tolerance = default if request.tolerance is None else request.tolerance
    if not agreement.difference <= tolerance:
        raise RunError(
            f"{model.name} differs from the run by {agreement.difference:.1e} ({agreement.where}), more than "
            f"--tolerance {tolerance:g}; nothing is written"
        )
    notes = [*model_format.notes]
    if checked.note:
        notes.append(f"compared on rows of noise: {checked.note}")
    quantization = None
    if request.quantization is not None:
        quantization = replace_by_quantized(predictor, graph, model, request.quantization, calibration, checked)
        _write_json(quantization, folder / QUANTIZATION)
    if model_format.script is not None:
        notes += write_script(predictor, folder, model_format.script)
    num_rows = min(len(checked.rows.ids), MAX_ROWS)
    exported = Exported(model, checked, num_rows, agreement, notes, quantization)
    preprocessing = describe_preprocessing(predictor, inputs)
    _write_json(preprocessing, folder / PREPROCESSING)
    (folder / "README.md").write_text(_write_readme(exported, preprocessing, model_format), encoding="utf-8")
    return exported


def _write_json(value: object, file: Path) -> None:
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def _example_inputs(predictor: Predictor, checked: CheckedRows) -> Inputs:
    """Return inputs to trace with: rows of noise, or repeated ones of the user's file."""
    is_own = all(get_item_class(preprocessor) in MAKERS for preprocessor in predictor.fitted.preprocessors.values())
    rows = make_rows(predictor, NUM_TRACED) if is_own else checked.rows
    numbers = np.arange(NUM_TRACED) % len(rows.ids)
    return gather_inputs(predictor.decode(rows, numbers), torch.arange(NUM_TRACED))


def describe_preprocessing(predictor: Predictor, inputs: dict[str, Tensors]) -> Preprocessing:
    """Return what preprocess.json holds.

    Args:
        predictor: of the run.
        inputs: of the model, by name.
    """
    dataset = predictor.config.dataset
    tasks: dict[str, TaskOutputs] = {}
    batch = next(iter(inputs.values()))["shape"][0]
    outputs: dict[str, Tensors] = {"embedding": {"dtype": "float32", "shape": [batch, predictor.embedding_dim]}}
    for name, task in predictor.record["tasks"].items():
        arguments = task["arguments"]
        names = arguments.get("classes") or arguments.get("labels") or arguments.get("outputs")
        tasks[name] = {"kind": task["kind"], "names": cast(list[str], names)}
        outputs[f"scores.{name}"] = {"dtype": "float32", "shape": [batch, len(tasks[name]["names"])]}
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
        "align": dataset.get("align"),
        "layout": dataset.get("layout"),
        "formats": predictor.formats,
        "modalities": modalities,
        "tasks": tasks,
        "inputs": inputs,
        "outputs": outputs,
    }


def _can_crop(predictor: Predictor, inputs: dict[str, Tensors]) -> bool:
    """Return whether there are texts, and all of them may have any length."""
    texts = [modality for modality, spec in predictor.modalities.items() if spec["kind"] == "text"]
    return bool(texts) and all(inputs[f"{text}.ids"]["shape"][1] == "length" for text in texts)


def _write_readme(exported: Exported, preprocessing: Preprocessing, model_format: ModelFormat) -> str:
    usage = f"- In Python: `{model_format.usage}`."
    if model_format.script is not None and exported.model.with_name(model_format.script).exists():
        usage = SCRIPT_USAGE.format(script=model_format.script, runtime=model_format.runtime)
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
