"""Point clouds: recover the blocks that were hidden."""

import torch
from torch import Tensor, nn

from mmrun.objectives.pretext import Pretext, check_share
from mmrun.types import Features
from mmrun.values import PositiveShare, Width

NUM_COORDINATES = 3


class MaskPoints(Pretext):
    """Hidden blocks of neighbouring points, recovered from the others (after Point-MAE: Pang et al., 2022).

    A decoder predicts points from the pooled vector; the loss is their Chamfer distance to the hidden ones.

    Args:
        dim: width of the encoder's features.
        ratio: probability that a block is hidden; one at least is, and one is not.
        blocks: number that a cloud is cut into, each around a random point.
        num_decoded: points that the decoder predicts.

    Raises:
        ConfigError: `ratio` is out of range.
    """

    def __init__(self, dim: int, ratio: PositiveShare = 0.6, blocks: Width = 16, num_decoded: Width = 64) -> None:
        super().__init__()
        self.ratio = check_share(ratio, "points")
        self.blocks = blocks
        self.decoder = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, NUM_COORDINATES * num_decoded))

    def corrupt(self, x: dict[str, Tensor], present: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the cloud without its hidden points; and the target: coordinates, and which points are hidden.

        Args:
            x: points [B, C, N] and mask [B, N].
            present: is not used.
        """
        coordinates = x["points"][:, :NUM_COORDINATES]
        hidden = draw_hidden_points(coordinates, x["mask"], self.ratio, self.blocks)
        visible = x["mask"] & ~hidden
        corrupted = x["points"].where(visible.unsqueeze(1), 0)
        return {**x, "points": corrupted, "mask": visible}, {"coordinates": coordinates, "hidden": hidden}

    def loss(self, features: Features, target: dict[str, Tensor]) -> Tensor:
        """Return the Chamfer distance between predicted and hidden points, [B]; 0 where none is hidden.

        Args:
            features: pooled [B, D].
            target: that `corrupt` returned.
        """
        decoded = self.decoder(features.pooled).float().unflatten(1, (NUM_COORDINATES, -1))  # [B, 3, P]
        differences = decoded.unsqueeze(3) - target["coordinates"].float().unsqueeze(2)
        distances = differences.square().sum(1)  # [B, P, N]
        hidden = target["hidden"]
        to_hidden = distances.masked_fill(~hidden.unsqueeze(1), torch.inf).amin(2).mean(1)
        to_decoded = (distances.amin(1) * hidden).sum(1) / hidden.sum(1).clamp(min=1)
        distance: Tensor = (to_hidden + to_decoded).where(hidden.any(1), 0)
        return distance


def draw_hidden_points(coordinates: Tensor, mask: Tensor, ratio: float, blocks: int) -> Tensor:
    """Draw which blocks of each cloud are hidden, at least one, and never all.

    Args:
        coordinates: [B, 3, N].
        mask: [B, N] bool.
        ratio: probability that a block is hidden.
        blocks: number of blocks; a point belongs to the nearest of as many random points.

    Returns:
        [B, N] bool; nothing is hidden of a cloud of less than two points.
    """
    draw = torch.rand(mask.shape, device=mask.device).masked_fill(~mask, -1)
    is_real, centers = draw.topk(min(blocks, mask.shape[1]), dim=1)  # [B, G]
    places = coordinates.gather(2, centers.unsqueeze(1).expand(-1, NUM_COORDINATES, -1))
    distances = (coordinates.unsqueeze(3) - places.unsqueeze(2)).square().sum(1)  # [B, N, G]
    distances = distances.masked_fill((is_real < 0).unsqueeze(1), torch.inf)
    lots = torch.rand(is_real.shape, device=mask.device)  # of each block
    is_block = is_real >= 0
    least, most = (
        lots.masked_fill(~is_block, 2).amin(1, keepdim=True),
        lots.masked_fill(~is_block, -1).amax(1, keepdim=True),
    )
    is_hidden = ((lots < ratio) | (lots == least)) & (lots < most)
    return is_hidden.gather(1, distances.argmin(2)) & mask
