"""Point cloud encoders for training from scratch. None of them depends on the order of the points."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.sequence import unmask_empty_rows
from mmrun.models.encoders.series import StepNorm
from mmrun.types import Encoder, Features
from mmrun.values import PositiveFloat, ShareBelow1, Width, Widths

NUM_COORDINATES = 3


class PointMlp(nn.Sequential):
    """The same layers for every point, each with a layer norm over its channels.

    Args:
        widths: of the input and of each layer.
    """

    def __init__(self, widths: Widths) -> None:
        super().__init__()
        for before, after in pairwise(widths):
            self.extend([nn.Conv1d(before, after, 1, bias=False), StepNorm(after), nn.ReLU()])


class PointNet(Encoder):
    """PointNet (Qi et al., 2017): layers that all points share, and the largest value of each channel.

    Layer norms stand for its batch norms, which padding would enter.

    Args:
        in_channels: C.
        widths: of the layers; the last is D.
        transform: whether a small network, the T-Net, first turns the coordinates by a matrix that it predicts from
            them.
        dropout: of the pooled vector.
    """

    kind = "points"

    def __init__(
        self,
        in_channels: int,
        widths: Widths = (64, 128, 256),
        transform: bool = False,
        dropout: ShareBelow1 = 0.1,
    ) -> None:
        super().__init__()
        self.dim = widths[-1]
        self.transform = TransformNet() if transform else None
        self.layers = PointMlp((in_channels, *widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: points [B, C, N] and mask [B, N].

        Returns:
            Pooled [B, D], no tokens.
        """
        points, mask = x["points"], unmask_empty_rows(x["mask"])
        if self.transform is not None:
            coordinates, features = points[:, :NUM_COORDINATES], points[:, NUM_COORDINATES:]
            points = torch.cat([self.transform(coordinates, mask) @ coordinates, features], 1)
        return Features(self.dropout(masked_max(self.layers(points), mask)))


class TransformNet(nn.Module):
    """The T-Net of PointNet: predicts a matrix for each cloud, the identity at first.

    Args:
        widths: of its layers.
    """

    def __init__(self, widths: Widths = (32, 64)) -> None:
        super().__init__()
        self.layers = PointMlp((NUM_COORDINATES, *widths))
        self.matrix = nn.Linear(widths[-1], NUM_COORDINATES**2)
        nn.init.zeros_(self.matrix.weight)
        nn.init.zeros_(self.matrix.bias)

    def forward(self, coordinates: Tensor, mask: Tensor) -> Tensor:
        """Return a matrix for each cloud: [B, 3, N], [B, N] -> [B, 3, 3]."""
        change: Tensor = self.matrix(masked_max(self.layers(coordinates), mask))
        identity = torch.eye(NUM_COORDINATES, device=change.device, dtype=change.dtype)
        matrix: Tensor = change.unflatten(1, (NUM_COORDINATES, NUM_COORDINATES)) + identity
        return matrix


class PointNet2(Encoder):
    """PointNet++ with single-scale grouping (Qi et al., 2017): a PointNet on the neighbours of ever fewer centres.

    The centres of a level are drawn by farthest point sampling. Of the points within a radius of a centre, the nearest
    ones are its neighbours, so that their order does not matter.

    Args:
        in_channels: C.
        num_centers: of each level.
        radii: of the balls of each level, in the unit of the coordinates: scenes have the radius 1.
        num_neighbors: points that are read in a ball of each level.
        widths: of the features of each level.
        dim: D.

    Raises:
        ConfigError: the levels differ in number.
    """

    kind = "points"

    def __init__(
        self,
        in_channels: int,
        num_centers: Widths = (128, 32),
        radii: tuple[PositiveFloat, ...] = (0.2, 0.4),
        num_neighbors: Widths = (16, 16),
        widths: Widths = (64, 128),
        dim: Width = 256,
    ) -> None:
        super().__init__()
        if not len(num_centers) == len(radii) == len(num_neighbors) == len(widths):
            raise ConfigError("num_centers, radii, num_neighbors and widths: need one number for each level")
        self.dim = dim
        self.levels = nn.ModuleList()
        before = in_channels - NUM_COORDINATES
        for count, radius, num_near, width in zip(num_centers, radii, num_neighbors, widths, strict=True):
            self.levels.append(SetAbstraction(before, count, radius, num_near, width))
            before = width
        self.last = PointMlp((NUM_COORDINATES + before, dim))

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: points [B, C, N] and mask [B, N].

        Returns:
            Pooled [B, D] and tokens [B, T, D], the centres of the last level.
        """
        points, mask = x["points"], unmask_empty_rows(x["mask"])
        coordinates, features = points[:, :NUM_COORDINATES], points[:, NUM_COORDINATES:]
        for level in self.levels:
            coordinates, features, mask = level(coordinates, features, mask)
        tokens = self.last(torch.cat([coordinates, features], 1))  # [B, D, T]
        return Features(masked_max(tokens, mask), tokens.transpose(1, 2), mask)


class SetAbstraction(nn.Module):
    """A level of PointNet++.

    Args:
        in_features: F, features of a point beside its coordinates.
        num_centers: S.
        radius: of the ball around a centre.
        num_neighbors: K, that are read in a ball.
        width: F', of the features of a centre.
    """

    def __init__(self, in_features: int, num_centers: int, radius: float, num_neighbors: int, width: int) -> None:
        super().__init__()
        self.num_centers, self.radius, self.num_neighbors = num_centers, radius, num_neighbors
        self.layers = PointMlp((NUM_COORDINATES + in_features, width, width))

    def forward(self, coordinates: Tensor, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return coordinates [B, 3, S] and features [B, F', S] of the centres, and which of them are real [B, S].

        Args:
            coordinates: [B, 3, N].
            features: [B, F, N].
            mask: [B, N].
        """
        num_centers = min(self.num_centers, mask.shape[1])
        centers = select_points(coordinates, sample_farthest(coordinates.detach(), mask, num_centers))  # [B, 3, S]
        distances = measure_distances(centers, coordinates).masked_fill(~mask.unsqueeze(1), torch.inf)  # [B, S, N]
        nearest, neighbors = distances.topk(min(self.num_neighbors, mask.shape[1]), largest=False)  # [B, S, K]
        offsets = (select_points(coordinates, neighbors) - centers.unsqueeze(3)) / self.radius  # [B, 3, S, K]
        is_near = (nearest <= self.radius**2).unsqueeze(1)
        grouped = torch.cat([offsets, select_points(features, neighbors)], 1)  # [B, 3 + F, S, K]
        grouped = grouped.masked_fill(~is_near, 0)  # so that batch statistics and ranges are those of neighbours
        encoded = self.layers(grouped.flatten(2)).unflatten(2, neighbors.shape[1:])  # [B, F', S, K]
        pooled = encoded.masked_fill(~is_near, 0).amax(3)  # after a ReLU, 0 is the least
        is_center = torch.arange(num_centers, device=mask.device) < mask.sum(1, keepdim=True)
        return centers, pooled, is_center


def sample_farthest(coordinates: Tensor, mask: Tensor, count: int) -> Tensor:
    """Draw points one by one, each the farthest from those before it (Eldar et al., 1997).

    The first one is the farthest from the mean, so that the order of the points does not matter.

    Args:
        coordinates: [B, 3, N].
        mask: [B, N], at least one point is real.
        count: S.

    Returns:
        Places [B, S] int64; once all real points were drawn, some of them again.
    """
    real = mask.unsqueeze(1).to(coordinates.dtype)
    mean = (coordinates * real).sum(2, keepdim=True) / real.sum(2, keepdim=True)  # [B, 3, 1]
    center = (coordinates - mean).square().sum(1).masked_fill(~mask, -1).argmax(1, keepdim=True)  # [B, 1]
    distances = torch.full_like(coordinates[:, 0], torch.inf)  # [B, N], to the nearest drawn point
    places = [center]
    for _ in range(count - 1):
        latest = select_points(coordinates, center)  # [B, 3, 1]
        distances = torch.minimum(distances, (coordinates - latest).square().sum(1))
        center = distances.masked_fill(~mask, -1).argmax(1, keepdim=True)
        places.append(center)
    return torch.cat(places, 1)


def select_points(values: Tensor, places: Tensor) -> Tensor:
    """Select points of each cloud.

    Args:
        values: [B, C, N].
        places: [B, ...] int64.

    Returns:
        [B, C, ...].
    """
    flat = places.flatten(1).unsqueeze(1).expand(-1, values.shape[1], -1)
    selected: Tensor = values.gather(2, flat).unflatten(2, places.shape[1:])
    return selected


def measure_distances(first: Tensor, second: Tensor) -> Tensor:
    """Return the squared distances between two sets of points: [B, 3, S], [B, 3, N] -> [B, S, N]."""
    return (first.unsqueeze(3) - second.unsqueeze(2)).square().sum(1)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Return the largest value of each channel over the real points: [B, C, N], [B, N] -> [B, C].

    Args:
        values: at least 0.
        mask: at least one point of a row is real.
    """
    return values.masked_fill(~mask.unsqueeze(1), 0).amax(2)


class BirdsEyeView(Encoder):
    """A map of the scene from above, read by an image encoder (MV3D: Chen et al., 2017; PIXOR: Yang et al., 2018).

    The channels of the map are the density of the points in each slice of height, and the mean of each feature.

    Args:
        in_channels: C.
        image: builds the encoder of the map.
        size: H = W, cells along each side.
        extent: half the length of a side, in the unit of the coordinates; what lies outside is left out.
        slices: of height; 1 ignores it.
        heights: between which the slices lie; lower and higher points belong to the first and the last.

    Raises:
        ConfigError: the lower height is not below the higher one.
    """

    kind = "points"

    def __init__(
        self,
        in_channels: int,
        image: Callable[..., Encoder],
        size: Width = 32,
        extent: PositiveFloat = 1.0,
        slices: Width = 4,
        heights: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        super().__init__()
        if not heights[0] < heights[1]:
            raise ConfigError(f"heights: {list(heights)} is empty; give the lower one first")
        self.size, self.extent, self.slices, self.heights = size, extent, slices, heights
        num_features = in_channels - NUM_COORDINATES
        self.image = image(in_channels=slices + num_features, image_size=size)
        self.dim = self.image.dim

    def forward(self, x: dict[str, Tensor]) -> Features:
        """Encode.

        Args:
            x: points [B, C, N] and mask [B, N].

        Returns:
            Those of the image encoder.
        """
        features: Features = self.image(self.draw_map(x["points"], x["mask"]))
        return features

    def draw_map(self, points: Tensor, mask: Tensor) -> Tensor:
        """Draw the map.

        Args:
            points: [B, C, N].
            mask: [B, N].

        Returns:
            [B, slices + C - 3, H, W], 0..1: the logarithm of the number of points, 1 for 63 and more, and the sigmoid
            of the mean of each standardised feature; 0 where a cell is empty. The second coordinate grows upwards.
        """
        places = (points[:, :2] / self.extent + 1) * (self.size / 2)  # [B, 2, N], in cells
        is_inside = ((places >= 0) & (places < self.size)).all(1) & mask  # [B, N]; NaN is outside
        column, row = places.where(is_inside.unsqueeze(1), 0).long().unbind(1)
        cell = (self.size - 1 - row) * self.size + column
        low, high = self.heights
        height = points[:, 2].where(is_inside, 0).sub(low).mul(self.slices / (high - low))
        cell_of_slice = height.long().clamp(0, self.slices - 1) * self.size**2 + cell
        counts = _add_up(is_inside.unsqueeze(1).to(points.dtype), cell_of_slice, self.slices * self.size**2)
        counts = counts.unflatten(2, (self.slices, self.size**2)).squeeze(1)  # [B, slices, H * W]
        density = (counts.log1p() / torch.log(torch.tensor(64.0))).clamp(max=1)
        features = points[:, NUM_COORDINATES:].where(is_inside.unsqueeze(1), 0)
        total = counts.sum(1, keepdim=True)
        means = torch.sigmoid(_add_up(features, cell, self.size**2) / total.clamp(min=1)) * (total > 0)
        channels: Tensor = torch.cat([density, means], 1).unflatten(2, (self.size, self.size))
        return channels


def _add_up(values: Tensor, places: Tensor, count: int) -> Tensor:
    """Add up the values of each cell: [B, C, N], [B, N] -> [B, C, count]."""
    sums = values.new_zeros(*values.shape[:2], count)
    return sums.scatter_add(2, places.unsqueeze(1).expand_as(values), values)
