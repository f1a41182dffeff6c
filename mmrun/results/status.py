"""The status file of a run, which the run rewrites every few seconds."""

import time
from pathlib import Path

from mmrun.processes import this_process
from mmrun.results.files import read_json, write_json
from mmrun.results.schema import RunStatus, State


class StatusFile:
    """Writes and reads status.json.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._current: RunStatus = {"status": "waiting", "stage": None, "step": 0, "progress": 0.0, "message": None}

    def write(
        self,
        status: State,
        stage: str | None = None,
        step: int | None = None,
        progress: float | None = None,
        message: str | None = None,
    ) -> None:
        """Write the status with a new heartbeat; what is None keeps the value of the last call.

        Args:
            status: of the run.
            stage: that is being trained.
            step: optimizer steps of that stage.
            progress: part of the stage that is done, 0 to 1.
            message: why the run failed.
        """
        self._current["status"] = status
        if stage is not None:
            self._current["stage"] = stage
        if step is not None:
            self._current["step"] = step
        if progress is not None:
            self._current["progress"] = progress
        if message is not None:
            self._current["message"] = message
        write_json(self.path, {**self._current, "heartbeat": time.time(), "process": this_process()})

    def read(self) -> RunStatus:
        """Return what was last written, by whichever process.

        Raises:
            DamagedError: there is no such file, or it is damaged.
        """
        status: RunStatus = read_json(self.path, RunStatus)
        return status
