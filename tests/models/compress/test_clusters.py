import numpy as np

from mmrun.models.compress.clusters import cluster


def test_values_have_the_nearest_centre_and_centres_are_their_means():
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    shared = cluster(values, 8)
    centres = np.unique(shared)
    assert len(centres) == 8
    nearest = np.abs(values[:, None] - centres).argmin(axis=1)
    assert np.array_equal(shared, centres[nearest])
    assert np.allclose([values[nearest == number].mean() for number in range(8)], centres, atol=1e-5)


def test_no_centre_is_lost_in_a_gap():
    values = np.array([0.0, 0.1, 0.2, 9.8, 9.9, 10.0], dtype=np.float32)
    assert cluster(values, 6).tolist() == values.tolist()


def test_equal_values_are_their_centre():
    assert cluster(np.full(5, 0.5, dtype=np.float32), 3).tolist() == [0.5] * 5
