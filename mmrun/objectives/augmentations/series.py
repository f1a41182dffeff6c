"""Augmentation of series."""

import torch
from torch import Tensor

from mmrun.objectives.augmentations.draw import accumulate, draw_spans, draw_uniform, sample_linearly
from mmrun.types import Augmentation
from mmrun.values import NonNegativeFloat, Share, ShareBelow1

NUM_KNOTS = 6  # at which the speed of a warped series is drawn


class AugmentSeries(Augmentation):
    """Warped time, scaled channels, noise (Um et al., 2017), and one masked span of time (Park et al., 2019).

    Args:
        noise: standard deviation of the noise on standardised values.
        scale: largest relative change of a channel's scale, 0..1.
        hide: longest span that is set to 0, the mean, as a share of the length.
        warp: largest relative change of the speed, which varies smoothly; first and last step stay where they are.
    """

    kind = "series"

    def __init__(
        self, noise: NonNegativeFloat = 0.0, scale: Share = 0.0, hide: Share = 0.0, warp: ShareBelow1 = 0.0
    ) -> None:
        super().__init__()
        self.noise, self.scale, self.hide, self.warp = noise, scale, hide, warp

    def forward(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return each series augmented, within its real steps.

        Args:
            x: series; only the values change.
        """
        values, real = x["values"], x["mask"]  # [B, C, T], [B, T]
        steps, length = torch.arange(real.shape[1], device=real.device), real.sum(1, keepdim=True)
        if self.warp > 0:
            values = warp_time(values, length, self.warp)
        visible = real & ~draw_spans(length, self.hide, steps)
        scale = 1 + self.scale * draw_uniform(-1, 1, values.shape[:2], real.device)
        changed = values * scale.unsqueeze(2) + self.noise * torch.randn_like(values)
        return {**x, "values": changed.where(visible.unsqueeze(1), 0)}


def warp_time(values: Tensor, length: Tensor, warp: float) -> Tensor:
    """Let each series run faster and slower, all its channels alike.

    Args:
        values: [B, C, T].
        length: [B, 1], of each series.
        warp: largest relative change of the speed, below 1.
    """
    num_rows, num_channels, num_steps = values.shape
    last = (length - 1).clamp(min=1)
    share = torch.arange(num_steps, device=values.device) / last  # [B, T] of the length
    knots = 1 + warp * draw_uniform(-1, 1, (num_rows, NUM_KNOTS), values.device)
    speed = sample_linearly(knots, share * (NUM_KNOTS - 1))
    passed = accumulate(speed) - speed[:, :1]  # [B, T]
    source = passed * last / passed.gather(1, last.clamp(max=num_steps - 1)).clamp(min=1e-6)
    return sample_linearly(values, source.unsqueeze(1).expand(-1, num_channels, -1))
