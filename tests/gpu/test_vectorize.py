"""Seeds that train together on the device are what they are alone."""

import pytest

from mmrun import compose
from mmrun.results.folder import RunFolder
from mmrun.run.vectorized import Sibling, run_together
from tests.gpu.conftest import RUN, Messages, Trained

IMAGE_AND_SOUND = ["modalities=[image,audio]", "encoder.image=lenet", "encoder.audio=logmel_cnn"]
RUNS = [*RUN, "trainer.vectorize=true", "strategy.stages.train.max_grad_norm=1"]


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("fp32", 1e-3), ("tf32", 2e-2), ("bf16", 5e-2)], ids=["fp32", "tf32", "bf16"]
)
def test_seeds_together_have_the_losses_of_each_alone(train, tmp_path, device, precision, tolerance):
    overrides = [*RUNS, f"trainer.precision={'bf16' if precision == 'bf16' else 'fp32'}"]
    overrides += [f"trainer.tf32={'false' if precision == 'fp32' else 'true'}"]
    if device.type == "cpu":
        overrides.append("trainer.batch_size=8")  # else their feature maps do not fit into its cache together
    files = [f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache"]
    messages, siblings = Messages(), []
    for seed in range(4):
        config = compose.load([*IMAGE_AND_SOUND, *overrides, *files, f"seed={seed}"])
        siblings.append(Sibling(config, RunFolder(tmp_path / f"together{seed}"), [], messages))
    run_together(siblings)
    assert [sibling.error for sibling in siblings] == [None] * 4
    if device.type == "cuda":  # on a CPU, two at a time
        assert messages.messages.count("train: 4 runs train together") == 1
    alone = train(*overrides, "seed=3", name="alone", model=IMAGE_AND_SOUND)
    assert Trained(siblings[3].folder.path, []).losses == pytest.approx(alone.losses, rel=tolerance)
