"""Places a fault at a single operating-system call of a run. Each run is a fork of this process, which is quick."""

import contextlib
import errno
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from PIL import Image

from mmrun.cli import main

# Audit events of Python that change files, or may, with the place of their path. "open" is also raised by reads.
CALLS = {"open": 0, "os.rename": 0, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.truncate": 0, "os.link": 1}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
ERRORS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO, errno.EACCES)

TABULAR = [
    *("dataset=synthetic", "dataset.num_rows=60", "modalities=[a,b]", "encoder.a.dims=[8]", "encoder.b.dims=[8]"),
    *("fusion.dim=4", "budget.steps=8", "trainer.batch_size=16", "trainer.save_every=0", "trainer.evaluate_every=0.3"),
]
PICTURES = [
    *("dataset=manifest", "dataset.target=label", "modalities=[image]", "encoder.image=lenet"),
    *("budget.steps=6", "trainer.batch_size=8", "trainer.save_every=0", "trainer.evaluate_every=0.3"),
]
RUNS = (
    [*TABULAR, "strategy=scratch", "strategy.stages.train.ema_decay=0.9"],
    [*TABULAR, "strategy=component"],
    [*TABULAR, "strategy=holistic", "trainer.on_nan=rollback"],
    [*TABULAR, "strategy=bagging"],
    [*TABULAR, "strategy=pseudo_label", "dataset.labelled=0.5"],
    [*TABULAR, "strategy=mean_teacher", "dataset.labelled=0.5"],
    [*TABULAR, "strategy=distill"],
    [*TABULAR, "strategy=scratch", "balance=ogm_ge", "callbacks=[early_stopping]"],
    PICTURES,
)

Action = Callable[[str, Path], None]  # what happens at a call: its event and its path


@dataclass(frozen=True)
class Ended:
    """How a forked command ended.

    Attributes:
        code: exit code; negative: the number of the signal that killed it.
        err: what it wrote to stderr.
        calls: on files of the trial, until it ended.
    """

    code: int
    err: str
    calls: int


@cache
def pictures() -> Path:
    """Write a manifest of 40 tiny pictures in two classes."""
    folder = Path(mkdtemp(prefix="mmrun-pictures-"))
    rng = np.random.default_rng(0)
    lines = ["image,label,split"]
    for row in range(40):
        pixels = rng.integers(0, 100, (8, 8)) + 100 * (row % 2)
        Image.fromarray(pixels.astype("uint8")).save(folder / f"{row}.png")
        lines.append(f"{row}.png,{row % 2},{'train' if row < 24 else 'val' if row < 32 else 'test'}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    return folder / "rows.csv"


def train(folder: Path, overrides: list[str], at: int | None = None, action: Action | None = None) -> Ended:
    """Train in a fork, with all files of the run and its cache below a folder.

    Args:
        folder: also the working folder of the fork.
        overrides: of the run.
        at: number of the call at which the action happens, from 1; None: at none.
        action: may kill the process, or raise an OSError in place of the call.
    """
    data = [f"dataset.path={pictures()}"] if "dataset=manifest" in overrides else []
    words = ["train", *overrides, *data, f"outputs={folder}/outputs", f"cache={folder}/cache", "trainer.progress=false"]
    err, count = folder / "err.txt", folder / "calls.txt"
    count.write_text("0")
    process = os.fork()
    if process == 0:
        _run_fork(folder, words, err, _Calls(folder, count, at, action))
    _, status = os.waitpid(process, 0)
    return Ended(os.waitstatus_to_exitcode(status), err.read_text(), int(count.read_text()))


class _Calls:
    """Counts the calls on files below a folder, and acts at one of them."""

    def __init__(self, folder: Path, count: Path, at: int | None, action: Action | None) -> None:
        self.prefix, self.own = f"{folder}/", {str(folder / "err.txt"), str(count)}
        self.at, self.action, self.number = at, action, 0
        self.file = os.open(count, os.O_WRONLY)

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        place = CALLS.get(event)
        if place is None or not isinstance(args[place], str | os.PathLike):
            return
        path = os.path.abspath(os.fspath(args[place]))
        if not path.startswith(self.prefix) or path in self.own or (event == "open" and not args[2] & WRITING):
            return
        self.number += 1
        os.pwrite(self.file, str(self.number).encode(), 0)
        if self.number == self.at and self.action is not None:
            self.action(event, Path(path))


def _run_fork(folder: Path, words: list[str], err: Path, calls: _Calls) -> None:
    """Run the command and leave the fork; never returns."""
    code = 70
    try:
        os.chdir(folder)
        with open(err, "w") as stream, open(os.devnull, "w") as nothing:
            sys.addaudithook(calls)
            with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(stream):
                try:
                    code = main(words)
                except BaseException:
                    traceback.print_exc()
    finally:
        os._exit(code)


def kill(event: str, path: Path) -> None:
    """Kill this process before the call."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int) -> Action:
    """Return an action that fails the call with an error number."""

    def action(event: str, path: Path) -> None:
        raise OSError(number, os.strerror(number), str(path))

    return action


def read_result(folder: Path) -> tuple[Any, ...]:
    """Return all that may not differ: weights, metrics, and the log without its times and speeds."""
    [run] = folder.glob("outputs/*/*/metrics.json")
    metrics = json.loads(run.read_text())
    events = []
    for line in (run.parent / "log.jsonl").read_text().splitlines():
        event = json.loads(line)
        events.append({key: value for key, value in event.items() if key != "seconds" and "speed/" not in key})
    weights = {}
    for path in sorted(run.parent.glob("checkpoints/*/*/model.safetensors")):
        weights[str(path.relative_to(run.parent))] = path.read_bytes()
    return metrics["metrics"], metrics["per_class"], metrics["cost"]["flops"], weights, events


@cache
def whole(number: int) -> tuple[tuple[Any, ...], int]:
    """Train one of RUNS without a fault; return its result and the number of its calls."""
    folder = Path(mkdtemp(prefix="mmrun-whole-"))
    ended = train(folder, RUNS[number])
    assert ended.code == 0, ended.err
    return read_result(folder), ended.calls


def check_kill(folder: Path, trial: tuple[int, float]) -> None:
    """Kill a run before a call, train it again, and compare with the run that was left alone.

    Args:
        folder: empty.
        trial: number of one of RUNS, and where in it: a share of its calls.
    """
    number, share = trial
    expected, calls = whole(number)
    killed = train(folder, RUNS[number], 1 + int(share * calls), kill)
    assert killed.code in (-signal.SIGKILL, 0), killed.err  # 0: it made a few calls less than the one that was counted
    _check_resumed(folder, number, expected)


def check_storage(folder: Path, trial: tuple[int, float, int]) -> None:
    """Let a call of a run fail: it is told in one line; trained again, the run ends as if nothing had happened.

    Args:
        folder: empty.
        trial: as for `check_kill`, and the error number.
    """
    number, share, error = trial
    expected, calls = whole(number)
    failed = train(folder, RUNS[number], 1 + int(share * calls), fail(error))
    assert "Traceback" not in failed.err, failed.err
    assert failed.code in (0, 1, 2), failed
    if failed.code:
        last = failed.err.splitlines()[-1]
        assert last.startswith("mmrun: "), failed.err
        assert os.strerror(error) in last, failed.err
        _check_resumed(folder, number, expected)
    assert read_result(folder) == expected


def _check_resumed(folder: Path, number: int, expected: tuple[Any, ...]) -> None:
    resumed = train(folder, RUNS[number])
    assert resumed.code == 0, resumed.err
    assert read_result(folder) == expected
