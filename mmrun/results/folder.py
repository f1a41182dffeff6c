"""The folder of one run: the path of each file in it, what is written there, and what is read."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mmrun.digests import compute_digest, verify_file
from mmrun.errors import DamagedError, StorageError
from mmrun.renamed import translate_metrics
from mmrun.results.files import (
    check_layout,
    explain_mend,
    read_json,
    read_yaml,
    write_json,
    write_yaml,
)
from mmrun.results.run_log import LOG_MEND, RunLog
from mmrun.results.schema import (
    BudgetUnit,
    ComparedConfig,
    CompressionRecord,
    Config,
    Environment,
    FittedRecord,
    Notes,
    RunMetrics,
    StoredConfig,
    StoredEnvironment,
)
from mmrun.results.status import StatusFile

MAX_FITTED_BYTES = 256 << 20  # of fitted.json; a vocabulary of a million words fits
SCHEMA = 2  # of metrics.json, see docs/metrics.schema.json


class RunFolder:
    """One run on disk. Other modules read and write predictions (`predictions.py`) and evaluation.json.

    Args:
        path: of the folder, which need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.name = self.path.name
        self.config_file = self.path / "config.yaml"
        self.overrides_file = self.path / "overrides.yaml"
        self.environment_file = self.path / "environment.json"
        self.data_file = self.path / "data.npz"  # digests of the data set, read and written by `data_records.py`
        self.fitted_file = self.path / "fitted.json"  # what new rows are read and named by
        self.hub = self.path / "hub"  # config files of the models of a hub that the run is built from
        self.compression_file = self.path / "compression.json"  # of a run that `mmrun compress` wrote
        self.status_file = self.path / "status.json"
        self.log_file = self.path / "log.jsonl"
        self.metrics_file = self.path / "metrics.json"
        self.evaluation_file = self.path / "evaluation.json"  # written by `mmrun eval`
        self.notes_file = self.path / "notes.json"  # written by `mmrun note`
        self.predictions = self.path / "predictions"
        self.checkpoints = self.path / "checkpoints"
        self.status = StatusFile(self.status_file)
        self.log = RunLog(self.log_file)

    def checkpoint_path(self, stage: str, which: str) -> Path:
        """Return the folder of a stage's `last` or `best` checkpoint."""
        return self.checkpoints / stage / which

    def profile_path(self, stage: str) -> Path:
        """Return the file of a stage's trace, which chrome://tracing or Perfetto show."""
        return self.path / "profiles" / f"{stage}.json"

    def describe_saved(self) -> str:
        """Return how far training is safe on disk: "after step 12 of finetune"."""
        saved = sorted(self.checkpoints.glob("*/last/state.json"), key=lambda file: file.stat().st_mtime)
        if not saved:
            return "from the start"
        stage, state = saved[-1].parent.parent.name, read_json(saved[-1])
        return f"after {stage}" if state["finished"] else f"after step {state['state']['step']} of {stage}"

    @property
    def finished(self) -> bool:
        """Whether the run has its metrics."""
        return self.metrics_file.exists()

    @property
    def is_int8(self) -> bool:
        """Whether layers of its model compute in 8 bits."""
        compression = self.read_compression()
        return compression is not None and "int8" in compression["structure"]

    # ------------------------------------------------------------------------------------------------------- writing

    def write_request(self, config: Mapping[str, object], overrides: Sequence[str], sync: bool = False) -> None:
        """Write the resolved config and the overrides that it was composed from; the run then waits to be started.

        Args:
            config: as plain values.
            overrides: as typed.
            sync: wait for the disk; a run that only waits can be requested again.
        """
        self.make()
        write_yaml(self.overrides_file, list(overrides), sync)
        write_yaml(self.config_file, dict(config), sync)

    def create(self, config: Mapping[str, object], overrides: Sequence[str], environment: Environment) -> None:
        """Write config, overrides and environment of a run that starts, and set its status to running."""
        self.write_request(config, overrides, sync=True)
        write_json(self.environment_file, environment)
        self.status.write("running")

    def add_start(self, environment: Environment) -> None:
        """Record the machine and the code with which the run goes on, and set its status to running."""
        self.update_environment(starts=[*self.read_starts(), environment])
        self.status.write("running")

    def make(self) -> None:
        """Make the folder.

        Raises:
            StorageError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"{self.path}: cannot be made ({error.strerror}); set outputs=FOLDER to one that can be written"
            ) from None

    def update_environment(self, **changes: object) -> None:
        """Add entries to the recorded environment."""
        recorded = read_json(self.environment_file) if self.environment_file.exists() else {}
        write_json(self.environment_file, {**recorded, **changes})

    def clear(self) -> None:
        """Remove what an earlier run of the same config left, `metrics.json` first: the run is then unfinished.

        The user's notes stay.
        """
        self.log.close()
        self.metrics_file.unlink(missing_ok=True)
        for path in self.path.iterdir():
            if path == self.notes_file:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def finish(self, metrics: Mapping[str, object]) -> None:
        """Write metrics.json, which marks the run as finished.

        Args:
            metrics: a `RunMetrics` without `schema`.
        """
        self.log.close()
        stored = [*sorted(self.predictions.glob("*.parquet")), *sorted(self.hub.rglob("*.json"))]
        files = [self.log_file, self.data_file, *stored]
        digests = {str(file.relative_to(self.path)): compute_digest(file) for file in files if file.exists()}
        write_json(self.metrics_file, {"schema": SCHEMA, **metrics, "files": digests})
        self.status.write("finished", progress=1.0)

    def write_fitted(self, fitted: FittedRecord) -> None:
        """Write what the training rows decided, so that new rows can be predicted without them.

        Args:
            fitted: of this run.
        """
        write_json(self.fitted_file, fitted)

    def write_note(self, note: str | None) -> None:
        """Set the user's note about the run.

        Args:
            note: replaces the one in the config; None: there is none.
        """
        write_json(self.notes_file, {"note": note})

    # ------------------------------------------------------------------------------------------------------- reading

    def verify(self, file: Path) -> None:
        """Check the log, the record of the data or a file of predictions of a finished run, once per process.

        Args:
            file: in this folder.

        Raises:
            DamagedError: it is not what was written when the run finished.
        """
        expected = self.read_metrics().get("files", {}).get(str(file.relative_to(self.path)))
        if expected is not None:
            try:
                verify_file(file, expected, once=True)
            except DamagedError as error:
                mends = {self.log_file: LOG_MEND, self.data_file: explain_mend(self.data_file)}
                rewrite = f"remove {self.metrics_file}, then mmrun resume {self.path} writes both again"
                raise DamagedError(f"{error}; {mends.get(file, rewrite)}") from None

    def read_config(self) -> Config:
        """Return the resolved config."""
        return cast(Config, read_yaml(self.config_file, StoredConfig))

    def read_fitted(self) -> FittedRecord:
        """Return what the training rows decided."""
        return cast(FittedRecord, read_json(self.fitted_file, FittedRecord, MAX_FITTED_BYTES))

    def read_compression(self) -> CompressionRecord | None:
        """Return what `mmrun compress` did to the run; None where it did nothing."""
        if not self.compression_file.exists():
            return None
        return cast(CompressionRecord, read_json(self.compression_file, CompressionRecord))

    def read_note(self, config: Config) -> str | None:
        """Return the user's note about the run.

        Args:
            config: of the run; `mmrun note` replaces the note in it.
        """
        if not self.notes_file.exists():
            return config.get("note")
        notes: Notes = read_json(self.notes_file, Notes)
        return notes["note"]

    def read_overrides(self) -> list[str]:
        """Return the overrides that were given to `mmrun train`."""
        return cast(list[str], read_yaml(self.overrides_file, list[str]))

    def read_environment(self) -> Environment:
        """Return the machine and code of the first start; empty for a run that never started."""
        if not self.environment_file.exists():
            return {}
        environment: dict[str, object] = read_json(self.environment_file, StoredEnvironment)
        return cast(Environment, {name: value for name, value in environment.items() if name not in ("starts", "time")})

    def read_starts(self) -> list[Environment]:
        """Return machine and code of every start, in order; empty for a run that never started."""
        if not self.environment_file.exists():
            return []
        first = read_json(self.environment_file, StoredEnvironment)
        starts: list[Environment] = first.get("starts") or [first]
        return starts

    def read_metrics(self) -> RunMetrics:
        """Return what metrics.json holds; names of version 0.1.0 are translated.

        Raises:
            DamagedError: the run is not finished, or the file is damaged.
        """
        mend = explain_mend(self.metrics_file)
        content = read_json(self.metrics_file, dict[str, Any])
        try:
            metrics = translate_metrics(content)
        except (AttributeError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DamagedError(f"{self.metrics_file}: damaged, not of version 0.1.0 ({reason}); {mend}") from None
        check_layout(self.metrics_file, metrics, RunMetrics)
        check_layout(self.metrics_file, metrics["config"], ComparedConfig)
        check_layout(self.metrics_file, list(metrics["budget"]), list[BudgetUnit])
        if len(metrics["budget"]) != 1:
            raise DamagedError(f"{self.metrics_file}: damaged, budget: expected one unit; {mend}")
        return cast(RunMetrics, metrics)
