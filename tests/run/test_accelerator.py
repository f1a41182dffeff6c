import pytest

from mmrun.errors import ConfigError
from mmrun.run.accelerator import build_accelerator


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
