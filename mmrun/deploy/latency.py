"""How long models take, measured in turns within one process, so that all see the same machine."""

from collections.abc import Callable, Mapping
from time import perf_counter
from typing import NamedTuple

import numpy as np

WARMUP_CALLS, NUM_BLOCKS, CALLS_PER_BLOCK = 5, 20, 10


class Latency(NamedTuple):
    """How long predicting takes.

    Attributes:
        p50: median, in seconds.
        p99: 99th percentile, in seconds.
    """

    p50: float
    p99: float


def measure_latencies(
    calls: Mapping[str, Callable[[], object]], num_blocks: int = NUM_BLOCKS, calls_per_block: int = CALLS_PER_BLOCK
) -> dict[str, Latency]:
    """Time calls in alternating blocks.

    Args:
        calls: by name; each returns when its work is done.
        num_blocks: of each call.
        calls_per_block: one after the other.

    Returns:
        By name.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(WARMUP_CALLS):
            call()
    for _ in range(num_blocks):
        for name, call in calls.items():
            times[name] += [_time(call) for _ in range(calls_per_block)]
    return {name: Latency(*map(float, np.percentile(seconds, [50, 99]))) for name, seconds in times.items()}


def _time(call: Callable[[], object]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start
