"""What a run checks before anything is decoded."""

import pytest

from mmrun import compose
from mmrun.run.checks import check

BYOL = [
    *("modalities=[image]", "encoder.image=lenet", "strategy=component"),
    "pretext/image@strategy.stages.pretrain.objective.by_kind.image=byol",
]


@pytest.mark.parametrize(("more", "warned"), [([], True), (["strategy.stages.pretrain.keep=last"], False)])
def test_the_lowest_loss_of_a_moving_target_is_warned_of(more, warned):
    lines = check(compose.load([*BYOL, *more]))
    warning = (
        "warning: pretrain-image: the target of Byol moves, so its losses at different steps cannot be compared; add "
        "strategy.stages.pretrain.keep=last"
    )
    assert (warning in lines) is warned
