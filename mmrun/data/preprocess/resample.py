"""Changes the rate of samples."""

import math

import numpy as np

WINDOW_BETA = 5.0  # of the Kaiser window; with it and the length below, those of scipy.signal.resample_poly
HALF_LENGTH = 10  # of the filter, in samples of the lower rate


def resample(samples: np.ndarray, rate: int, target_rate: int) -> np.ndarray:
    """Resample by a windowed sinc.

    Args:
        samples: float32 [S].
        rate: of these, in Hz.
        target_rate: of the result, in Hz.

    Returns:
        float32, about [S * target_rate / rate].
    """
    divisor = math.gcd(rate, target_rate)
    up, down = target_rate // divisor, rate // divisor
    try:
        from scipy.signal import resample_poly
    except ImportError:  # beside an exported model
        return resample_slowly(samples, up, down)
    resampled: np.ndarray = resample_poly(samples, up, down).astype(np.float32)
    return resampled


def resample_slowly(samples: np.ndarray, up: int, down: int) -> np.ndarray:
    """Resample as SciPy does, to the same bits, with numpy alone.

    Args:
        samples: float32 [S].
        up: factor of the rate, without a common divisor with `down`.
        down: divisor of the rate.

    Returns:
        float32 [ceil(S * up / down)].
    """
    half = HALF_LENGTH * max(up, down)
    taps = np.arange(-half, half + 1)
    kernel = np.sinc(taps / max(up, down)) * np.kaiser(2 * half + 1, WINDOW_BETA)
    kernel = (kernel / kernel.sum()).astype(np.float32) * np.float32(up)
    centres = np.arange(-(-len(samples) * up // down)) * down + half  # in the upsampled signal, which starts at `half`
    newest = centres // up  # the last sample that the kernel covers
    resampled = np.zeros(len(centres), dtype=np.float32)
    for age in range(len(kernel) // up, -1, -1):  # oldest first, one sample of all outputs at a time
        index, tap = newest - age, centres - (newest - age) * up
        is_inside = (index >= 0) & (index < len(samples)) & (tap < len(kernel))
        product = samples[np.clip(index, 0, len(samples) - 1)] * kernel[np.minimum(tap, len(kernel) - 1)]
        resampled += np.where(is_inside, product, np.float32(0))
    return resampled
