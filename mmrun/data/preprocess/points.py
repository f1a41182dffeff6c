"""Point clouds of lidar, radar or depth cameras."""

import zlib
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from mmrun.data.items import list_paths
from mmrun.data.moments import Moments
from mmrun.data.preprocess.lengths import AUTO, PERCENTILE, Auto, check_range, choose_length, format_share, inspect_rows
from mmrun.data.preprocess.point_files import XYZ, Cloud, read_cloud
from mmrun.data.table import Column
from mmrun.errors import ConfigError, DataError
from mmrun.values import Width

Scale = Literal["scene", "training"]
NUM_COORDINATES = len(XYZ)
MIN_RADIUS = float(np.finfo(np.float32).tiny)  # whose logarithm is still finite


class Points:
    """Decodes point clouds to "points" [C, n] float32, coordinates before features, and a "mask" [n] of the real ones.

    Of more points, n are drawn at random, the same whenever a cloud is read; fewer are zero-padded. Points with NaN or
    infinity are left out. Features are standardised by the training rows.

    Args:
        num_points: n; "auto": 99 % of the training rows are read whole.
        auto_range: smallest and largest n that "auto" chooses.
        scale: scene: each scene is moved to its mean and divided by its radius, as by Qi et al. (2017); training:
            scenes keep their origin, the sensor, and are divided by one radius, within which the training rows lie.
        keep_scale: whether the logarithm of each scene's radius is a further feature of its points.

    Attributes:
        num_points: the number, once fitted.
        names: of the columns that the training rows have.
        radius: that scenes are divided by; 1.0 where each has its own.
        mean: of each feature over the training rows.
        deviation: standard deviation likewise; 0 for a constant feature, which is 0 in every row.
        metadata: in_channels and num_points, for encoders and pretexts.
        notes: how many points are read, and how many are left out.

    Raises:
        ConfigError: the range is none, or `keep_scale` is set with scale=training, where nothing is lost.
    """

    def __init__(
        self,
        num_points: Width | Auto = AUTO,
        auto_range: tuple[Width, Width] = (32, 1024),
        scale: Scale = "scene",
        keep_scale: bool = False,
    ) -> None:
        check_range(auto_range)
        if keep_scale and scale == "training":
            raise ConfigError("preprocess.keep_scale: scale=training keeps the scale of scenes anyway; leave it out")
        self.num_points = auto_range[0] if num_points == "auto" else num_points
        self.auto_range = auto_range if num_points == "auto" else None
        self.scale, self.keep_scale = scale, keep_scale
        self.names: list[str] = []
        self.radius = 1.0
        self.mean = np.zeros(0)
        self.deviation = np.ones(0)
        self.metadata: dict[str, Any] = {}
        self.notes: list[str] = []

    def fit(self, column: Column, rows: np.ndarray) -> None:
        """Fit the names of the columns, the moments of the features, and the radius.

        Args:
            column: the point clouds.
            rows: numbers of the training rows [N].
        """
        training = replace(column, values=[column.values[row] for row in rows])
        summaries = [summary for summary in inspect_rows(training, self._summarize) if summary is not None]
        names = Counter(summary.names for summary in summaries)
        self.names = list(names.most_common(1)[0][0] if names else XYZ)
        fitting = [summary for summary in summaries if summary.names == tuple(self.names)]
        counts = np.array([summary.num_points for summary in fitting], dtype=np.float64)
        if self.auto_range is not None:
            self.num_points = int(choose_length(counts, np.arange(len(counts)), self.auto_range))
        if self.scale == "training" and fitting:
            radii = [summary.radius for summary in fitting]
            self.radius = float(np.percentile(radii, PERCENTILE, method="higher")) or 1.0
        moments = Moments(len(self.names) - NUM_COORDINATES + self.keep_scale)
        for summary in fitting:
            moments.merge(summary.moments)
        self.mean, self.deviation = moments.mean, moments.deviation
        self.notes = self._describe(fitting)
        paths = chain.from_iterable(map(list_paths, training.values))
        if any(path.suffix.lower() == ".npy" for path in paths):
            self.notes.append("the .npy files are read as points; dataset.kinds.NAME=series reads them as series")
        self._update_metadata()

    def _summarize(self, value: object) -> "_Summary":
        cloud = read_cloud(value)  # type: ignore[arg-type]
        _, radius = self._measure_scene(cloud.points)
        moments = Moments(len(cloud.names) - NUM_COORDINATES + self.keep_scale)
        moments.update(self._collect_features(cloud, radius).T)
        return _Summary(cloud.names, len(cloud.points), cloud.num_dropped, radius, moments)

    def _measure_scene(self, points: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the mean and the radius around it; or the origin, and the radius that holds 99 % of the points."""
        coordinates = points[:, :NUM_COORDINATES].astype(np.float64)
        if self.scale == "training":
            return np.zeros(NUM_COORDINATES), float(np.percentile(np.linalg.norm(coordinates, axis=1), PERCENTILE))
        center = coordinates.mean(axis=0)
        coordinates -= center
        return center, float(np.einsum("nc,nc->n", coordinates, coordinates).max() ** 0.5)

    def _collect_features(self, cloud: Cloud, radius: float) -> np.ndarray:
        """Return the features of points before they are standardised, [n, F]."""
        features = cloud.points[:, NUM_COORDINATES:].astype(np.float64)
        if not self.keep_scale:
            return features
        scale = np.log(max(radius, MIN_RADIUS))
        return np.column_stack([features, np.full(len(features), scale)])

    def _describe(self, summaries: "list[_Summary]") -> list[str]:
        if not summaries:
            return []
        counts = np.array([summary.num_points for summary in summaries])
        range_ = f"{counts.min():,}" if counts.min() == counts.max() else f"{counts.min():,} to {counts.max():,}"
        notes = [f"{', '.join(self.names)}; {range_} points in a training row"]
        num_cut = int((counts > self.num_points).sum())
        if num_cut:
            share = format_share(num_cut / len(counts))
            notes.append(f"{self.num_points:,} points are drawn at random: {share} of {len(counts):,} rows have more")
        if self.scale == "training":
            notes.append(f"coordinates are divided by {self.radius:.4g}, the radius of the training rows")
        num_dropped = sum(summary.num_dropped for summary in summaries)
        if num_dropped:
            total = num_dropped + int(counts.sum())
            notes.append(f"{num_dropped:,} of {total:,} points are left out: a number is NaN or infinite")
        return notes

    def decode(self, value: Path | np.ndarray) -> dict[str, np.ndarray]:
        """Decode one row.

        Args:
            value: a file, or numbers [points, columns].

        Returns:
            "points" [C, num_points] float32 and "mask" [num_points] bool.

        Raises:
            DataError: it cannot be read, or has other columns than the training rows.
        """
        cloud = read_cloud(value)
        if list(cloud.names) != self.names:
            raise DataError(
                f"points of {', '.join(cloud.names)}, but those of the training rows are {', '.join(self.names)}"
            )
        center, radius = self._measure_scene(cloud.points)
        sample = cloud._replace(points=_draw_points(cloud.points, self.num_points))
        unit = (radius or 1.0) if self.scale == "scene" else self.radius
        coordinates = (sample.points[:, :NUM_COORDINATES] - center) / unit
        factor = np.divide(1.0, self.deviation, out=np.zeros_like(self.deviation), where=self.deviation > 0)
        features = (self._collect_features(sample, radius) - self.mean) * factor
        points = np.zeros((NUM_COORDINATES + features.shape[1], self.num_points), dtype=np.float32)
        points[:, : len(features)] = np.column_stack([coordinates, features]).T
        return {"points": points, "mask": np.arange(self.num_points) < len(features)}

    def state(self) -> dict[str, object]:
        """Return the options, the names of the columns, the radius, and the moments of the features."""
        return {
            "num_points": self.num_points,
            "scale": self.scale,
            "keep_scale": self.keep_scale,
            "names": list(self.names),
            "radius": self.radius,
            "mean": self.mean.tolist(),
            "deviation": self.deviation.tolist(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Restore a state of another object."""
        self.num_points, self.scale, self.keep_scale = state["num_points"], state["scale"], state["keep_scale"]
        self.names, self.radius = list(state["names"]), state["radius"]
        self.mean, self.deviation = np.array(state["mean"]), np.array(state["deviation"])
        self._update_metadata()

    def _update_metadata(self) -> None:
        self.metadata = {"in_channels": NUM_COORDINATES + len(self.mean), "num_points": self.num_points}


def draw_map(points: np.ndarray, size: int) -> np.ndarray:
    """Draw a point cloud from above, as people look at it: the second coordinate grows upwards.

    Args:
        points: [n, C], at least one.
        size: H = W, of a square that holds all points.

    Returns:
        [H, W], 0..1: the logarithm of the number of points.
    """
    places = points[:, :2].astype(np.float64)
    side = max(float(np.ptp(places, axis=0).max()), 1e-12)
    column, row = np.minimum((places - places.min(axis=0)) / side * size, size - 1).astype(np.int64).T
    counts = np.zeros((size, size))
    np.add.at(counts, (size - 1 - row, column), 1.0)
    density: np.ndarray = np.log1p(counts) / np.log1p(counts.max())
    return density


class _Summary(NamedTuple):
    """What is fitted of one training row."""

    names: tuple[str, ...]
    num_points: int
    num_dropped: int
    radius: float
    moments: Moments


def _draw_points(points: np.ndarray, num_points: int) -> np.ndarray:
    """Draw some points of a cloud [n, C], in their order; which ones depends on nothing but the cloud."""
    if len(points) <= num_points:
        return points
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(points).data))
    return points[np.sort(rng.choice(len(points), num_points, replace=False, shuffle=False))]
