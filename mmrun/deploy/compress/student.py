"""A student: a smaller model that learns from the predictions of a finished run (Hinton et al., 2015)."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from mmrun import compose
from mmrun.config import RunConfig
from mmrun.deploy.compress.pipeline import measure
from mmrun.deploy.compress.source import Source
from mmrun.deploy.predictor import open_predictor
from mmrun.errors import ConfigError
from mmrun.results.files import write_json
from mmrun.results.folder import RunFolder
from mmrun.results.schema import CompressionRecord
from mmrun.run import build, pipeline
from mmrun.run.early_checks import check_early
from mmrun.training.callback import Callback

MAX_NAME = 60  # letters in a table
RECIPE = ("strategy=distill", "~strategy.stages.teach")
TEACHER = "strategy.stages.distill.objective.teacher"
HOW_IT_WAS_TRAINED = re.compile(r"[+~]*(strategy|(.*\.)?init)\b")  # overrides that are about the teacher alone


def train_student(source: Source, overrides: Sequence[str], path: Path, callback: Callback) -> RunFolder:
    """Train a student, with the config of its teacher but for some overrides; continue one that was interrupted.

    Args:
        source: the teacher.
        overrides: in what the student differs: "encoder.text=gru", "budget.epochs=5".
        path: of the new run folder.
        callback: observes training, and gets messages.

    Returns:
        The folder of the finished run.

    Raises:
        ConfigError: the folder holds another run, an override does not fit, or the training rows are not there.
        RunError: another process writes there, or training failed.
    """
    folder = RunFolder(path)
    if source.session is None:
        raise ConfigError("--student: needs the training rows, which are not there")
    if folder.finished:
        raise ConfigError(f"{path}: exists; remove it with mmrun rm {path}, or choose another name with -o")
    words = list_overrides(source.folder, overrides)
    config = compose.load(words)
    config.choices = {**config.choices, "compress": name_student(overrides)}
    check_early(config)
    _record_teacher(folder, source, overrides)
    try:
        pipeline.run(config, callback, words, folder=folder)
    finally:
        if not folder.config_file.exists():  # it could not start
            folder.compression_file.unlink()
            folder.path.rmdir()
    _record_inference(source, folder, config, callback)
    return folder


def name_student(overrides: Sequence[str]) -> str:
    """Return what a student is called in tables; long overrides are cut, and told apart by a digest.

    Args:
        overrides: in what the student differs; `mmrun show` lists them whole.
    """
    name = ",".join(overrides)
    if len(name) > MAX_NAME:
        name = f"{name[: MAX_NAME - 9]}...{hashlib.sha256(name.encode()).hexdigest()[:6]}"
    return f"student:{name}"


def list_overrides(teacher: RunFolder, overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a student is composed from."""
    kept_overrides = [word for word in teacher.read_overrides() if not HOW_IT_WAS_TRAINED.match(word)]
    return [*kept_overrides, *RECIPE, f"{TEACHER}={teacher.path.resolve()}", *overrides]


def _record_teacher(folder: RunFolder, source: Source, overrides: Sequence[str]) -> None:
    """Write the lineage first, so that `mmrun resume` leaves the rest to the command that started it."""
    record: CompressionRecord = {
        "run": source.folder.name,
        "steps": [],
        "importance": "l1",
        "finetune_epochs": 0.0,
        "student": list(overrides),
        "structure": {"drops": [], "heads": {}, "ranks": {}, "sizes": {}, "dims": {}},
    }
    if folder.path.exists() and (not folder.compression_file.exists() or folder.read_compression() != record):
        raise ConfigError(
            f"{folder.path}: holds another run; remove it with mmrun rm {folder.path}, or choose another name with -o"
        )
    folder.path.mkdir(parents=True, exist_ok=True)
    write_json(folder.compression_file, record)


def _record_inference(source: Source, folder: RunFolder, config: RunConfig, callback: Callback) -> None:
    """Add to the metrics what predicting takes, beside the teacher."""
    model = open_predictor(folder, callback).model
    last = list(build.resolve_stages(config, model).values())[-1]
    inference = measure(source, folder, last, model)
    metrics = cast(dict[str, Any], folder.read_metrics())
    copied = {key: value for key, value in metrics.items() if key not in ("schema", "files")}
    folder.finish({**copied, "inference": inference})
