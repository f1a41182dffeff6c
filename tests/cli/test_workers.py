"""Which process gets which run of a sweep, and what is reported of one that ends without an answer."""

import socket
from pathlib import Path

import pytest

from mmrun.cli import workers
from mmrun.cli.workers import Workers

GB = 2**30


class ImmediateWorker:
    """Stands for a process: its run ends as soon as it is looked at. It notes how many train at that time."""

    alive: list["ImmediateWorker"] = []
    most_at_a_time = 0

    def __init__(self, num_threads):
        self.connection, self.other = socket.socketpair()
        self.process, self.run, self.peak = self, None, 0
        self.alive.append(self)

    def poll(self):
        return None

    def start(self, run, job):
        self.run = run
        self.other.send(b".")
        type(self).most_at_a_time = max(self.most_at_a_time, sum(worker.run is not None for worker in self.alive))

    def read_reason(self, is_readable):
        self.connection.recv(1)
        return True, f"{self.run} failed" if self.run == Path("b") else None

    def measure_memory(self):
        self.peak = 3 * GB
        return 1 * GB


@pytest.fixture
def messages(monkeypatch):
    monkeypatch.setattr(workers, "Worker", ImmediateWorker)
    monkeypatch.setattr(ImmediateWorker, "alive", [])
    monkeypatch.setattr(ImmediateWorker, "most_at_a_time", 0)
    return []


def train(monkeypatch, messages, available):
    monkeypatch.setattr(workers, "_read_sizes", lambda file: {"MemAvailable": available})
    pool = Workers(2, messages.append)
    first = pool.train({Path("warm"): {}})
    assert first == {Path("warm"): None}
    ImmediateWorker.most_at_a_time = 0
    return pool.train({Path(name): {} for name in "abcd"})


def test_runs_train_side_by_side_and_one_that_fails_ends_alone(monkeypatch, messages):
    reasons = train(monkeypatch, messages, available=8 * GB)
    assert reasons == {Path("a"): None, Path("b"): "b failed", Path("c"): None, Path("d"): None}
    assert (ImmediateWorker.most_at_a_time, messages) == (2, [])


def test_no_run_is_added_while_less_memory_is_free_than_the_last_one_needed(monkeypatch, messages):
    reasons = train(monkeypatch, messages, available=1 * GB)
    assert len(reasons) == 4
    assert ImmediateWorker.most_at_a_time == 1
    assert messages == ["1 GiB of memory are free and the last run needed 3 GiB: fewer runs train at a time"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (-9, "its process was killed by SIGKILL; perhaps memory ran out"),
        (-11, "its process was killed by SIGSEGV"),
        (3, "its process ended with exit code 3"),
    ],
)
def test_a_process_that_ends_without_an_answer_is_explained(code, reason):
    assert workers._explain_exit(code) == reason
