"""How runs train for which `trainer.vectorize` asks, but which cannot be computed as one."""

from pathlib import Path

import pytest

from mmrun.cli import launch
from mmrun.cli.launch import ThisProcess
from mmrun.cli.workers import count_free_cores
from mmrun.training.vectorized.stackable import NotStackableError


@pytest.fixture
def trained(monkeypatch):
    """Let two runs not fit together; collect how each is trained."""
    calls = []

    class Processes:
        def __init__(self, count, report):
            self.count = count

        def train(self, jobs):
            calls.extend((self.count, path.name, job["position"]["is_parallel"]) for path, job in jobs.items())
            return dict.fromkeys(jobs)

        def close(self):
            calls.append("closed")

    def refuse(jobs, last_data):
        raise NotStackableError("they are too large")

    def train_alone(job, last_data):
        calls.append(("alone", Path(job["run"]).name, job["position"]["is_parallel"]))

    monkeypatch.setattr(launch, "Workers", Processes)
    monkeypatch.setattr(launch, "group_jobs", lambda jobs, report: [list(jobs)])
    monkeypatch.setattr(launch, "train_jobs_together", refuse)
    monkeypatch.setattr(launch, "train_job", train_alone)
    return calls


JOBS = {Path(name): {"run": name, "position": {"is_parallel": False}} for name in ("a", "b", "c")}


def test_runs_that_are_too_large_together_train_in_a_process_per_core(trained, monkeypatch, capsys):
    monkeypatch.setattr(launch, "count_free_cores", lambda: 2)
    assert ThisProcess().train(JOBS) == {Path("a"): None, Path("b"): None, Path("c"): None}
    assert trained == [(2, "a", True), (2, "b", True), (2, "c", True), "closed"]
    message = "trainer.vectorize: 3 runs train 2 at a time, in a process each: they are too large\n"
    assert capsys.readouterr().err == message


def test_on_one_core_they_train_one_after_another(trained, monkeypatch, capsys):
    monkeypatch.setattr(launch, "count_free_cores", lambda: 1)
    assert ThisProcess().train(JOBS) == {Path("a"): None, Path("b"): None, Path("c"): None}
    assert trained == [("alone", "a", False), ("alone", "b", False), ("alone", "c", False)]
    assert capsys.readouterr().err == "trainer.vectorize: 3 runs train one after another: they are too large\n"


def test_a_user_who_sets_the_threads_gets_no_more_processes(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert count_free_cores() == 1
