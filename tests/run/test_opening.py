import pytest

from mmrun.errors import ConfigError
from mmrun.run.opening import reopen
from mmrun.run.pipeline import run
from mmrun.training.callback import NullCallback
from tests.run.observers import Messages


def test_a_run_that_is_not_finished_cannot_be_reopened(open_run):
    folder = open_run().folder
    with pytest.raises(ConfigError, match=r"this run is not finished; mmrun resume "):
        reopen(folder, NullCallback())


def test_sharding_in_a_single_process_is_said_to_do_nothing(load):
    messages = Messages()
    run(load("trainer.fsdp=true"), messages)
    assert messages.texts[0] == (
        "note: trainer.fsdp: nothing to shard over; torchrun --nproc-per-node N starts N processes"
    )
