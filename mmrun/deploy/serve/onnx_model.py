"""A served run in onnxruntime: it imports neither torch nor what trains."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.data import limits
from mmrun.data.items import list_items
from mmrun.data.preprocess.items import is_of_items
from mmrun.deploy.predict_exported import ExportedRun, Parts
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.model import Answer, describe_row, describe_unseen, split_answers
from mmrun.deploy.serve.problems import RequestError, from_message
from mmrun.deploy.serve.schema import Field, Modality, Schema, ServedTarget, describe_cell_field
from mmrun.deploy.serve.values import explain_value, read_values
from mmrun.errors import ConfigError, DamagedError, DataError
from mmrun.installation import format_pip_command

MAX_BYTES = 1 << 28  # of preprocess.json, as of fitted.json


class OnnxModel:
    """A served run in onnxruntime.

    Args:
        folder: that `mmrun export` wrote.

    Raises:
        ConfigError: onnxruntime is not installed, or the rows of this run can only be read by mmrun.
        DamagedError: a file of the folder is not what was written.
    """

    backend = "onnx"
    explains = False

    def __init__(self, folder: Path) -> None:
        settings = _read_settings(folder)
        self._session = _open_session(folder)
        self._outputs = [value.name for value in self._session.get_outputs()]
        self._inputs = {value.name for value in self._session.get_inputs()}
        try:
            self._run = ExportedRun(settings)
            self.schema = build_schema(settings)
        except Exception as error:  # preprocess.json may come from someone else
            raise _damaged(folder, error) from None

    def predict(self, requests: Sequence[Sequence[ReadRow]]) -> list[list[Answer] | RequestError]:
        """Predict the rows of several requests together; see `ServedModel`."""
        rows = [row for request in requests for row in request]
        values, errors = read_values(self._run, self.schema, rows)
        decoded: dict[int, dict[str, Parts | None]] = {}
        for number in range(len(rows)):
            try:
                parts = {}
                for modality in self.schema.modalities:
                    parts[modality.name] = self._decode(modality, values[modality.name][number])
                decoded[number] = parts
            except RequestError as error:
                errors.setdefault(number, error)
        decoded = {number: parts for number, parts in decoded.items() if number not in errors}
        answers: dict[int, Answer] = {}
        if decoded:
            scores = self._compute(list(decoded.values()))
            for place, number in enumerate(decoded):
                row_scores = [scores[f"scores.{target.name}"][place].tolist() for target in self.schema.targets]
                row_values = {name: of_modality[number] for name, of_modality in values.items()}
                notes = describe_unseen(self._run.preprocessors, row_values)
                answers[number] = describe_row(self.schema, rows[number], row_scores, notes)
        return split_answers(requests, answers, errors)

    def _decode(self, modality: Modality, value: object) -> Parts | None:
        for item in list_items(value):
            if isinstance(item, Path):
                _check_file(modality.fields[0], item)
        try:
            return self._run.decode_value(modality.name, value)
        except DataError as error:
            raise explain_value(modality, value, str(error)) from None

    def _compute(self, decoded: Sequence[Mapping[str, Parts | None]]) -> dict[str, np.ndarray]:
        stacked = self._run.stack({name: [row[name] for row in decoded] for name in self._run.modalities})
        inputs = {name: stacked[name] for name in self._inputs}
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def explain(self, row: ReadRow, target: str | None) -> Answer:
        """Raise: onnxruntime computes no gradients."""
        raise NotImplementedError


def _read_settings(folder: Path) -> dict[str, Any]:
    path = folder / "preprocess.json"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DamagedError(f"{path}: is larger than {MAX_BYTES >> 20} MiB")
        settings: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder, error) from None
    if not (folder / "predict_onnx.py").is_file():
        raise ConfigError(
            f"{folder}: has no predict_onnx.py, so its rows can only be read by mmrun; serve the run itself"
        )
    return settings


def _open_session(folder: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ConfigError(
            f"{folder}: onnxruntime is not installed; {format_pip_command('install', 'onnxruntime')}"
        ) from None
    try:
        return onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    except Exception as error:  # its classes depend on what is wrong with the file
        raise _damaged(folder, error) from None


def _damaged(folder: Path, error: Exception) -> DamagedError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return DamagedError(f"{folder}: damaged, or not what mmrun export wrote ({reason}); export the run again")


def build_schema(settings: Mapping[str, Any]) -> Schema:
    """Return what an exported run reads and predicts.

    Args:
        settings: of preprocess.json.
    """
    modalities = []
    for name, spec in settings["modalities"].items():
        kind = spec["kind"]
        fields = []
        for column in spec["columns"]:
            if kind == "tabular":
                fields.append(describe_cell_field(column, name, spec["state"]))
            else:
                fields.append(Field(column, name, kind, is_list=is_of_items(spec["state"])))
        modalities.append(Modality(name, kind, fields))
    targets = [ServedTarget(name, task["kind"], task["names"]) for name, task in settings["tasks"].items()]
    return Schema(settings["run"], modalities, targets)


def _check_file(column: Field, path: Path) -> None:
    """Raise a RequestError if a file claims more than may be decoded."""
    try:
        _read_header(column, path)
    except DataError as error:
        raise from_message(column.name, str(error).replace(path.name, "the file")) from None


def _read_header(column: Field, path: Path) -> None:
    if path.suffix == ".npy":
        limits.open_array(path)
    elif column.type == "image":
        from PIL import Image

        limits.ignore_size_warnings()
        try:
            with Image.open(path) as image:
                limits.check_image(image, "the file")
        except (OSError, Image.DecompressionBombError):
            raise DataError("the file is too large, or not an image that Pillow reads; send a PNG or JPEG") from None
    elif column.type == "audio":
        import soundfile

        try:
            with soundfile.SoundFile(path) as file:
                limits.check_audio(file, "the file")
        except soundfile.SoundFileError:
            raise DataError("the file is not audio that libsndfile reads; send a WAV, FLAC, MP3 or OGG") from None
