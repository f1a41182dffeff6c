import subprocess
import sys

import pytest

from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback
from tests.run.observers import Interrupt, Messages


def test_libraries_of_pretrained_encoders_are_imported_only_by_runs_that_have_one():
    code = "import sys, mmrun.run.pipeline; print({'timm', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n", done.stderr


def test_a_finished_run_is_returned_and_not_repeated(load):
    messages = Messages()
    folder = run(load(), NullCallback())
    modified = folder.metrics_file.stat().st_mtime_ns
    assert run(load(), messages).path == folder.path
    assert messages.texts == [f"{folder.path} is finished; --rerun repeats it"]
    assert folder.metrics_file.stat().st_mtime_ns == modified


def test_an_interrupted_run_is_resumed_with_the_same_result(load, train_once):
    expected = train_once("trainer.save_every=0").read_metrics()["metrics"]
    config = load("trainer.save_every=0", f"outputs={load().outputs}-interrupted")
    with pytest.raises(KeyboardInterrupt):
        run(config, Interrupt())
    folder = run(config, NullCallback())
    assert folder.read_metrics()["metrics"] == expected
