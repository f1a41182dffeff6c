"""The folder of one run: every path in it, how each file is written, and how it is read."""

import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import yaml  # type: ignore[import-untyped]

from mmrun.errors import DataError

SCHEMA = 1  # of metrics.json, see docs/metrics.schema.json
METRIC_VERSION = 1  # rises when a metric's definition changes, so that old and new figures are not compared unnoticed

WITHOUT_EFFECT = ("outputs", "experiment", "cache", "choices")  # keys that cannot change a result
TRAINER_WITHOUT_EFFECT = ("progress", "trackers", "save_every")


def identity(config: Mapping[str, Any]) -> str:
    """Give the 8 hex digits that two runs share if and only if they are asked for the same result."""
    trainer = {key: value for key, value in config["trainer"].items() if key not in TRAINER_WITHOUT_EFFECT}
    decisive = {key: value for key, value in config.items() if key not in WITHOUT_EFFECT} | {"trainer": trainer}
    canonical = json.dumps(decisive, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def where(config: Mapping[str, Any]) -> Path:
    """Give the folder that belongs to a resolved config: outputs/digits/digits-component-s0-1a2b3c4d."""
    choices = config["choices"]
    name = f"{choices['dataset']}-{choices['strategy']}-s{config['seed']}-{identity(config)}".replace("/", ".")
    return Path(config["outputs"]).expanduser() / config["experiment"] / name


class RunFolder:
    """One run on disk. A file stands under its final name only when it is whole."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.config_file = self.path / "config.yaml"
        self.overrides_file = self.path / "overrides.yaml"
        self.environment_file = self.path / "environment.json"
        self.status_file = self.path / "status.json"
        self.log_file = self.path / "log.jsonl"
        self.metrics_file = self.path / "metrics.json"
        self.predictions = self.path / "predictions"
        self.checkpoints = self.path / "checkpoints"
        self.text_log = self.path / "log.txt"
        self._log: TextIO | None = None

    def checkpoint(self, stage: str, which: str) -> Path:
        """Give the folder of a stage's `last` or `best` checkpoint."""
        return self.checkpoints / stage / which

    @property
    def finished(self) -> bool:
        """Tell whether the run came to its end."""
        return self.metrics_file.exists()

    # ------------------------------------------------------------------------------------------------------- writing

    def create(self, config: Mapping[str, Any], overrides: Sequence[str], environment: Mapping[str, Any]) -> None:
        """Open the folder of a run that starts."""
        self.path.mkdir(parents=True, exist_ok=True)
        _write_whole(self.overrides_file, yaml.safe_dump(list(overrides)))
        _write_whole(self.environment_file, _json(environment))
        _write_whole(self.config_file, yaml.safe_dump(dict(config), sort_keys=False))
        self.set_status("running")

    def clear(self) -> None:
        """Take away what an earlier run of the same config left, `metrics.json` first: it stops being finished."""
        self.close()
        for file in (self.metrics_file, self.status_file, self.log_file, self.text_log):
            file.unlink(missing_ok=True)
        for folder in (self.predictions, self.checkpoints):
            shutil.rmtree(folder, ignore_errors=True)

    def set_status(
        self,
        state: str,
        stage: str | None = None,
        step: int = 0,
        progress: float = 0.0,
        message: str | None = None,
    ) -> None:
        """Say where the run is: running | finished | failed | interrupted. `progress` is the part of the budget spent.

        A running run says so again every few seconds; one that fell silent counts as interrupted.
        """
        said = {"status": state, "stage": stage, "step": step, "progress": progress, "message": message}
        _write_whole(self.status_file, _json({**said, "heartbeat": time.time()}))

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one event."""
        if self._log is None:
            self._log = self.log_file.open("a", encoding="utf-8")
        self._log.write(json.dumps(_plain(event), allow_nan=False) + "\n")
        self._log.flush()

    def log_size(self) -> int:  # bytes
        """Give the length of the log, for a checkpoint to remember."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def truncate_log(self, size: int) -> None:
        """Forget what was logged after a checkpoint, before the run goes on from it."""
        self.close()
        if size < self.log_size():
            os.truncate(self.log_file, size)

    def write_predictions(
        self, split: str, ids: Sequence[str], targets: Mapping[str, Any], scores: Mapping[str, Any]
    ) -> None:
        """Keep what a model said about each row: columns id, <task>.target ..., <output>.scores ... (lists)."""
        import pyarrow
        from pyarrow import parquet

        columns = {"id": list(ids)}
        columns |= {f"{task}.target": values.tolist() for task, values in targets.items()}
        columns |= {f"{output}.scores": values.tolist() for output, values in scores.items()}
        self.predictions.mkdir(exist_ok=True)
        file = self.predictions / f"{split}.parquet"
        unfinished = _unfinished(file)
        parquet.write_table(pyarrow.table(columns), unfinished)
        _put(unfinished, file)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, which makes the run a finished one."""
        _write_whole(self.metrics_file, _json({"schema": SCHEMA, "metric_version": METRIC_VERSION, **metrics}))
        self.set_status("finished", progress=1.0)
        self.close()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    # ------------------------------------------------------------------------------------------------------- reading

    def config(self) -> dict[str, Any]:
        """Give the resolved config."""
        return _read_yaml(self.config_file)

    def overrides(self) -> list[str]:
        """Give the words that were typed after `mmrun train`."""
        return _read_yaml(self.overrides_file)

    def metrics(self) -> dict[str, Any]:
        """Give what metrics.json holds."""
        return _read_json(self.metrics_file)

    def status(self) -> dict[str, Any]:
        """Give what was last said by `set_status`."""
        return _read_json(self.status_file)

    def events(self) -> Iterator[dict[str, Any]]:
        """Give the logged events; a last line that a killed run left half written is none."""
        with self.log_file.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)


# --------------------------------------------------------------------------------------------------------- files


def _json(value: Any) -> str:
    return json.dumps(_plain(value), indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Give what JSON and YAML can say; a number that is not finite becomes null, which every reader understands."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # a number or an array of NumPy's
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def _write_whole(file: Path, text: str) -> None:
    unfinished = _unfinished(file)
    unfinished.write_text(text, encoding="utf-8")
    _put(unfinished, file)


def _unfinished(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}")


def _put(unfinished: Path, file: Path) -> None:
    """Give a file its final name, so that it is found whole or not at all even after the power went."""
    _sync(unfinished)
    os.replace(unfinished, file)
    _sync(file.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file; is this the folder of a run that got so far?") from None
    except ValueError as error:
        raise DataError(f"{file}: this is not JSON ({error}); remove the run's folder and train it again") from None


def _read_yaml(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: there is no such file; is this the folder of a run?") from None
    except yaml.YAMLError as error:
        raise DataError(f"{file}: this is not YAML ({error}); remove the run's folder and train it again") from None
