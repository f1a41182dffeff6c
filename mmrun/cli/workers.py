"""Trains the runs of a sweep in several processes on this machine, each of which keeps what it has imported and opened.

A process that fails or is killed takes no other with it: its run is reported, and another process takes its place.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from mmrun.cli.job import Job
from mmrun.results.formatting import format_size

POLL = 0.5  # seconds between looks at processes and memory
THREADS = "OMP_NUM_THREADS"  # of torch and NumPy in a process


class Worker:
    """One process, and the run that it trains.

    Args:
        num_threads: that it computes with, unless the user has set them.
    """

    def __init__(self, num_threads: int) -> None:
        self.connection, other = socket.socketpair()
        environment = {THREADS: str(num_threads), **os.environ}
        with other:
            command = [sys.executable, "-m", "mmrun.cli.worker", str(other.fileno())]
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[other.fileno()]
            )
        self.replies = self.connection.makefile("r", encoding="utf-8")
        self.run: Path | None = None
        self.peak = 0  # bytes of memory, of all its runs so far

    def start(self, run: Path, job: Job) -> None:
        """Send a job."""
        self.run = run
        with suppress(OSError):  # the process has just died, as `read_reason` will find
            self.connection.sendall(f"{json.dumps(job)}\n".encode())

    def read_reason(self, is_readable: bool) -> tuple[bool, str | None]:
        """Return whether the run has ended, and why it failed; None: it did not."""
        reply = self.replies.readline() if is_readable else ""
        if reply.endswith("\n"):
            return True, json.loads(reply)
        if not is_readable and self.process.poll() is None:
            return False, None
        return True, _explain_exit(self.process.wait())

    def measure_memory(self) -> int:
        """Return the bytes of memory that the process has now, and note its peak."""
        sizes = _read_sizes(Path(f"/proc/{self.process.pid}/status"))
        self.peak = max(self.peak, sizes.get("VmHWM", 0))
        return sizes.get("VmRSS", 0)

    def close(self) -> None:
        """End the process: at once if it waits for a job; a run that still trains saves a checkpoint first."""
        self.replies.close()
        self.connection.close()
        if self.run is None:
            self.process.wait()
        else:
            self.process.terminate()


class Workers:
    """Processes that train runs side by side.

    Args:
        count: of processes, at most.
        report: receives messages for the user.
    """

    def __init__(self, count: int, report: Callable[[str], None]) -> None:
        self.count, self.report = count, report
        self.num_threads = 1  # of a process
        self.workers: list[Worker] = []
        self.needed = 0  # bytes of memory, by the last run that ended
        self.is_short_of_memory = False

    def train(self, jobs: Mapping[Path, Job]) -> dict[Path, str | None]:
        """Train runs.

        Args:
            jobs: by run folder.

        Returns:
            For each run, why it failed; None: it did not.
        """
        self.num_threads = max(1, (os.cpu_count() or 1) // max(1, min(self.count, len(jobs))))
        waiting, reasons = deque(jobs.items()), dict[Path, str | None]()
        while len(reasons) < len(jobs):
            while waiting and (worker := self._find_idle()) is not None:
                worker.start(*waiting.popleft())
            busy = {worker.connection: worker for worker in self.workers if worker.run is not None}
            readable = wait(list(busy), timeout=POLL)
            for connection, worker in busy.items():
                worker.measure_memory()
                has_ended, reason = worker.read_reason(connection in readable)
                if has_ended and worker.run is not None:
                    reasons[worker.run] = reason
                    if worker.process.poll() is not None:
                        self.report(f"{worker.run.name}: {reason}")
                    worker.run, self.needed = None, worker.peak
            self.workers = [worker for worker in self.workers if worker.process.poll() is None]
        return reasons

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.close()

    def _find_idle(self) -> Worker | None:
        """Return a process without a run, started if need be; None: all train, or memory is short for one more."""
        idle = [worker for worker in self.workers if worker.run is None]
        if not idle and len(self.workers) == self.count:
            return None
        freed = idle[0].measure_memory() if idle else 0
        if len(idle) < len(self.workers) and not self._has_memory(freed):
            return None
        if not idle:
            idle = [Worker(self.num_threads)]
            self.workers += idle
        return idle[0]

    def _has_memory(self, freed: int) -> bool:
        """Return whether memory suffices for one more run, and report once if it does not."""
        available = _read_sizes(Path("/proc/meminfo")).get("MemAvailable", self.needed) + freed
        if available < self.needed and not self.is_short_of_memory:
            self.report(
                f"{format_size(available)} of memory are free and the last run needed {format_size(self.needed)}: "
                "fewer runs train at a time"
            )
        self.is_short_of_memory = available < self.needed
        return not self.is_short_of_memory


def count_free_cores() -> int:
    """Return how many processes may compute side by side, a thread each; 1 where the user has set their threads."""
    import torch  # here: it takes seconds

    return 1 if THREADS in os.environ else torch.get_num_threads()


def _read_sizes(file: Path) -> dict[str, int]:
    """Return the sizes in a file of the system in bytes, by name; none where there is no such file."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return {}
    sizes = {}
    for line in lines:
        name, _, size = line.partition(":")
        if size.endswith(" kB"):
            sizes[name] = int(size[:-3]) * 1024
    return sizes


def _explain_exit(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit code {code}"
    hint = "; perhaps memory ran out" if -code == signal.SIGKILL else ""
    return f"its process was killed by {signal.Signals(-code).name}{hint}"
