"""Disks that become full, and runs that died: one line says what is safe, and resuming loses nothing."""

from pathlib import Path

import pytest

from mmrun.errors import StorageError
from mmrun.results.files import read_json, write_json
from mmrun.run.pipeline import run
from mmrun.training.callback import Callback, NullCallback


class FillsUp(Callback):
    """Fills the disk after some steps."""

    def __init__(self, small_disk, step, size):
        self.small_disk, self.step, self.size = small_disk, step, size

    def on_step_end(self, state, losses):
        if state.step == self.step:
            self.small_disk(self.size)


NEVER = "trainer.evaluate_every=99"  # before the end
OFTEN = "trainer.evaluate_every=0.3"


@pytest.mark.parametrize(
    ("file", "size", "step", "overrides"),
    [
        ("status.json", 0, 0, [NEVER]),
        ("log.jsonl", 0, 0, [OFTEN]),
        ("checkpoints/train/last", 1000, 1, [NEVER, "trainer.save_every=0"]),
    ],
)
def test_a_full_disk_is_one_line_and_loses_nothing(load, small_disk, monkeypatch, file, size, step, overrides):
    expected = run(load(*overrides), NullCallback()).read_metrics()["metrics"]
    config = load(*overrides, f"outputs={load().outputs}-full")
    with monkeypatch.context() as patch:
        if file == "status.json":
            patch.setattr("mmrun.run.callbacks.HEARTBEAT", 0.0)
        with pytest.raises(StorageError) as raised:
            run(config, FillsUp(small_disk, 2, size))
    [path] = Path(config.outputs).glob("*/*")
    start, _, reason = str(raised.value).partition(": cannot be written (")
    assert start == f"{path}/{file}"
    assert "File too large" in reason
    assert reason.endswith(f"; free room, then mmrun resume {path} continues after step {step} of train")
    assert "\n" not in reason
    small_disk(1 << 40)
    assert run(config, NullCallback()).read_metrics()["metrics"] == expected


def test_a_run_that_cannot_begin_says_where_to_write(load, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        StorageError, match=r"cannot be made \(Not a directory\); set outputs=FOLDER to one that can be"
    ):
        run(load(f"outputs={tmp_path}/file/outputs"), NullCallback())


class Messages(Callback):
    """Collects messages."""

    def __init__(self):
        self.messages = []

    def on_message(self, text):
        self.messages.append(text)


def test_resuming_a_killed_run_says_so_and_cleans_up(load):
    config = load("trainer.save_every=0")

    class Dies(Callback):
        def on_checkpoint(self, state):
            if state.step == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, Dies())
    [path] = Path(config.outputs).glob("*/*")
    status = read_json(path / "status.json")
    write_json(path / "status.json", {**status, "status": "running", "progress": 0.5})
    left = [path / ".status.json.4711", path / "checkpoints/train/best.new/state.json"]
    for file in left:
        file.parent.mkdir(exist_ok=True)
        file.write_text("{")
    terminal = Messages()
    run(config, terminal)
    assert terminal.messages == [f"{path} was killed at train, 50% done", "train: resumes after step 2"]
    assert not any(file.exists() for file in left)
