"""Compiled training, with and without CUDA graphs, equals eager training."""

import pytest


@pytest.mark.gpu_alone
@pytest.mark.parametrize("mode", ["true", "reduce-overhead"])
def test_compiled_training_gives_the_losses_of_eager_training(train, mode):
    overrides = ["trainer.tf32=false", "trainer.deterministic=false"]
    expected = train(*overrides, name="eager").losses
    compiled = train(*overrides, f"trainer.compile={mode}")
    assert [message for message in compiled.messages if "uncompiled" in message] == []
    assert compiled.losses == pytest.approx(expected, rel=1e-3)


@pytest.mark.gpu_alone
def test_compiling_works_in_bf16_with_tf32_and_deterministic_kernels(train):
    overrides = ["trainer.precision=bf16", "trainer.deterministic=true", "trainer.tf32=true"]
    expected = train(*overrides, name="eager").losses
    compiled = train(*overrides, "trainer.compile=true")
    assert [message for message in compiled.messages if "uncompiled" in message] == []
    assert compiled.losses == pytest.approx(expected, rel=5e-2)
