import subprocess
import sys

import pytest

from mmrun.errors import ConfigError
from mmrun.run.pipeline import build_accelerator, reopen, run
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


def test_a_run_that_is_not_finished_cannot_be_reopened(open_run):
    folder = open_run().folder
    with pytest.raises(ConfigError, match=r"this run is not finished; mmrun resume "):
        reopen(folder, NullCallback())


@pytest.mark.parametrize(
    ("overrides", "world", "message"),
    [
        (["trainer.precision=fp16"], "1", "trainer.precision: fp16 needs a GPU; use bf16 or fp32"),
        ([], "3", "trainer: batch_size and eval_batch_size must divide evenly over 3 processes"),
        (["budget.steps=null", "budget.seconds=1"], "2", "budget.seconds: several processes have several clocks; use"),
    ],
)
def test_what_this_machine_or_these_processes_cannot_do_is_rejected(load, monkeypatch, overrides, world, message):
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(ConfigError, match=f"^{message}"):
        build_accelerator(load(*overrides))


def test_sharding_in_a_single_process_is_said_to_do_nothing(load):
    messages = Messages()
    run(load("trainer.fsdp=true"), messages)
    assert messages.texts[0] == (
        "note: trainer.fsdp: nothing to shard over; torchrun --nproc-per-node N starts N processes"
    )
