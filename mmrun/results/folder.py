"""The folder of one run: every path in it, how each file is written, and how it is read."""

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import mmrun
from mmrun.config import result_config
from mmrun.errors import RunError
from mmrun.renamed import translate_metrics
from mmrun.results.files import plain, read_json, read_yaml, write_json, write_whole, write_yaml

SCHEMA = 2  # of metrics.json, see docs/metrics.schema.json

LIBRARIES = (
    *("torch", "torchvision", "timm", "transformers", "tokenizers", "accelerate", "hydra-core", "omegaconf"),
    *("numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "soundfile", "safetensors"),
)


def identity(config: Mapping[str, Any]) -> str:
    """Return the 8 hex digits that two configs share if and only if they ask for the same result."""
    canonical = json.dumps(result_config(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:8]


def run_path(config: Mapping[str, Any]) -> Path:
    """Return the folder of a resolved config: outputs/default/digits-component-s0-1a2b3c4d."""
    choices = config["choices"]
    name = f"{choices['dataset']}-{choices['strategy']}-s{config['seed']}-{identity(config)}".replace("/", ".")
    return Path(config["outputs"]).expanduser() / config["experiment"] / name


def environment(device: str, threads: int) -> dict[str, Any]:
    """Describe machine and code as far as they can change a result, naming neither the machine nor its user."""
    import torch

    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "versions": {"mmrun": mmrun.__version__, **{library: version(library) for library in LIBRARIES}},
        "git": _git_state(),
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        "threads": threads,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def version(library: str) -> str | None:
    """Return the installed version without importing the library; None where it is not installed."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _lock(descriptor: int, path: Path, wait: Callable[[str], None] | None) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if wait is None:
            raise RunError(f"{path}: another process trains this run; wait for it or stop it") from None
        wait(f"{path}: another process trains this run; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _git_state() -> dict[str, Any] | None:
    """Return the commit of the working directory and whether its files differ from it; None outside a repository."""
    commit = _git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "changed": _git("status", "--porcelain") != ""}


def _git(*words: str) -> str | None:
    try:
        answer = subprocess.run(["git", *words], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


class RunFolder:
    """One run on disk."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.config_file = self.path / "config.yaml"
        self.overrides_file = self.path / "overrides.yaml"
        self.environment_file = self.path / "environment.json"
        self.status_file = self.path / "status.json"
        self.log_file = self.path / "log.jsonl"
        self.metrics_file = self.path / "metrics.json"
        self.evaluation_file = self.path / "evaluation.json"  # what mmrun eval found
        self.predictions = self.path / "predictions"
        self.checkpoints = self.path / "checkpoints"
        self._said: dict[str, Any] = {"status": None, "stage": None, "step": 0, "progress": 0.0, "message": None}
        self._log: TextIO | None = None

    def checkpoint(self, stage: str, which: str) -> Path:
        """Return the folder of a stage's `last` or `best` checkpoint."""
        return self.checkpoints / stage / which

    def profile(self, stage: str) -> Path:
        """Return the file of a stage's trace, which chrome://tracing or Perfetto show."""
        return self.path / "profiles" / f"{stage}.json"

    @property
    def finished(self) -> bool:
        """Return whether the run came to its end."""
        return self.metrics_file.exists()

    # ------------------------------------------------------------------------------------------------------- writing

    @contextmanager
    def alone(self, wait: Callable[[str], None] | None = None) -> Iterator[None]:
        """Keep every other process from training this run; the system lets go when this one dies, however it dies.

        Where another one trains it now: an error, or, with `wait`, a word to `wait` and patience.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            _lock(descriptor, self.path, wait)
            yield
        finally:
            os.close(descriptor)
            self.close()

    def ask(self, config: Mapping[str, Any], overrides: Sequence[str]) -> None:
        """Write down what a run is asked for; it waits until somebody starts it."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_yaml(self.overrides_file, list(overrides))
        write_yaml(self.config_file, dict(config))

    def create(self, config: Mapping[str, Any], overrides: Sequence[str], environment: Mapping[str, Any]) -> None:
        """Write down what a run that starts was asked for, and where it starts."""
        self.ask(config, overrides)
        write_json(self.environment_file, environment)
        self.set_status("running")

    def set_environment(self, **facts: Any) -> None:
        """Add to what is known of where the run was made."""
        write_json(self.environment_file, {**self.environment(), **facts})

    def clear(self) -> None:
        """Take away what an earlier run of the same config left, `metrics.json` first: it is finished no more."""
        self.close()
        self.metrics_file.unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def set_status(
        self,
        state: str,
        stage: str | None = None,
        step: int | None = None,
        progress: float | None = None,
        message: str | None = None,
    ) -> None:
        """Write the run's state: running | finished | failed | interrupted | pruned. None keeps a value.

        `progress` is the part of the stage that is done. A run says "running" again every few seconds: one that fell
        silent counts as interrupted.
        """
        news = {"status": state, "stage": stage, "step": step, "progress": progress, "message": message}
        self._said |= {key: value for key, value in news.items() if value is not None}
        write_json(self.status_file, {**self._said, "heartbeat": time.time()})

    def log(self, event: Mapping[str, Any]) -> None:
        """Append one event."""
        if self._log is None:
            self._log = self.log_file.open("a", encoding="utf-8")
        self._log.write(json.dumps(plain(event), allow_nan=False) + "\n")
        self._log.flush()

    def log_size(self) -> int:  # bytes
        """Return the length of the log, for a checkpoint to remember."""
        return self.log_file.stat().st_size if self.log_file.exists() else 0

    def truncate_log(self, size: int) -> None:
        """Forget what was logged after a checkpoint, before the run goes on from it."""
        self.close()
        if size < self.log_size():
            os.truncate(self.log_file, size)

    def write_predictions(
        self, split: str, ids: Sequence[str], targets: Mapping[str, Any], scores: Mapping[str, Any]
    ) -> None:
        """Keep what the model said about each row: columns id, <task>.target ..., <output>.scores ... (lists)."""
        import pyarrow
        from pyarrow import parquet

        columns = {"id": list(ids)}
        columns |= {f"{task}.target": values.tolist() for task, values in targets.items()}
        columns |= {f"{output}.scores": values.tolist() for output, values in scores.items()}
        self.predictions.mkdir(exist_ok=True)
        table = pyarrow.table(columns)
        write_whole(self.predictions / f"{split}.parquet", lambda path: parquet.write_table(table, path))

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Write metrics.json, which makes the run a finished one."""
        write_json(self.metrics_file, {"schema": SCHEMA, **metrics})
        self.set_status("finished", progress=1.0)
        self.close()

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
            self._log = None

    # ------------------------------------------------------------------------------------------------------- reading

    def config(self) -> dict[str, Any]:
        """Return the resolved config."""
        config: dict[str, Any] = read_yaml(self.config_file)
        return config

    def environment(self) -> dict[str, Any]:
        """Return the recorded machine and code; empty for a run that never started."""
        known: dict[str, Any] = read_json(self.environment_file) if self.environment_file.exists() else {}
        return known

    def overrides(self) -> list[str]:
        """Return the words that were typed after `mmrun train`."""
        words: list[str] = read_yaml(self.overrides_file)
        return words

    def metrics(self) -> dict[str, Any]:
        """Return what metrics.json holds; names of version 0.1.0 are translated."""
        return translate_metrics(read_json(self.metrics_file))

    def status(self) -> dict[str, Any]:
        """Return what `set_status` last wrote."""
        said: dict[str, Any] = read_json(self.status_file)
        return said

    def events(self) -> Iterator[dict[str, Any]]:
        """Return the logged events; a last line that a killed run left half written is none."""
        with self.log_file.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)
