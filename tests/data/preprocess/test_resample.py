"""Changing the rate of samples."""

import numpy as np
import pytest

from mmrun.data.preprocess.resample import resample, resample_slowly


@pytest.mark.parametrize(("up", "down"), [(1, 2), (2, 1), (320, 441), (80, 441), (160, 147)])
@pytest.mark.parametrize("length", [1, 7, 5512])
def test_without_scipy_samples_are_the_same_bits(up, down, length):
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, length).astype(np.float32)
    np.testing.assert_array_equal(resample_slowly(samples, up, down), resample(samples, down * 25, up * 25))
