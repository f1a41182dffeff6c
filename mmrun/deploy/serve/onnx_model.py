"""A served run in onnxruntime: it imports neither torch nor what trains."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrun.deploy.predict_exported import ExportedRun, Parts
from mmrun.deploy.serve.cells import ReadRow
from mmrun.deploy.serve.model import Answer, Errors, Scores, answer_requests
from mmrun.deploy.serve.problems import RequestError
from mmrun.deploy.serve.schema import ServedTarget, build_schema
from mmrun.deploy.serve.values import RawValues, explain_value
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
            targets = [ServedTarget(name, task["kind"], task["names"]) for name, task in settings["tasks"].items()]
            self.schema = build_schema(self._run, targets)
        except Exception as error:  # preprocess.json may come from someone else
            raise _damaged(folder, error) from None

    def predict(self, requests: Sequence[Sequence[ReadRow]]) -> list[list[Answer] | RequestError]:
        """Predict the rows of several requests together; see `ServedModel`."""
        return answer_requests(self._run, self.schema, requests, self._score)

    def _score(self, values: RawValues, errors: Errors) -> Scores:
        decoded: dict[int, dict[str, Parts | None]] = {}
        for number in range(len(next(iter(values.values())))):
            parts = {}
            for modality in self.schema.modalities:
                value = values[modality.name][number]
                try:
                    parts[modality.name] = self._run.decode_value(modality.name, value)
                except DataError as error:
                    errors.setdefault(number, explain_value(modality, value, str(error)))
            if number not in errors:
                decoded[number] = parts
        if not decoded:
            return {}
        scores = self._compute(list(decoded.values()))
        by_target = [scores[f"scores.{target.name}"].tolist() for target in self.schema.targets]
        return dict(zip(decoded, zip(*by_target, strict=True), strict=True))

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
