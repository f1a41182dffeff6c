"""All benchmarks, by the name that one types."""

from collections.abc import Mapping

from mmrun.data.benchmarks import (
    av_mnist,
    cmu_mosei,
    crema_d,
    food_101,
    hateful_memes,
    kitti,
    meld,
    mimic_cxr,
    mm_imdb,
    ravdess,
    vqa_v2,
)
from mmrun.data.benchmarks.benchmark import Benchmark
from mmrun.errors import ConfigError, nearest

BENCHMARKS: Mapping[str, Benchmark] = {
    "av_mnist": av_mnist.BENCHMARK,
    "cmu_mosei": cmu_mosei.BENCHMARK,
    "crema_d": crema_d.BENCHMARK,
    "food_101": food_101.BENCHMARK,
    "hateful_memes": hateful_memes.BENCHMARK,
    "kitti": kitti.BENCHMARK,
    "meld": meld.BENCHMARK,
    "mimic_cxr": mimic_cxr.BENCHMARK,
    "mm_imdb": mm_imdb.BENCHMARK,
    "ravdess": ravdess.BENCHMARK,
    "vqa_v2": vqa_v2.BENCHMARK,
}


def find_benchmark(name: str) -> tuple[str, Benchmark]:
    """Return a benchmark and its name.

    Args:
        name: as typed; case, spaces and dashes do not matter.

    Raises:
        ConfigError: there is no such benchmark.
    """
    normal = name.lower().replace("-", "_").replace(" ", "_")
    by_letters = {known.replace("_", ""): known for known in BENCHMARKS}
    known = by_letters.get(normal.replace("_", ""))
    if known is None:
        raise ConfigError(f"no benchmark '{name}'{nearest(normal, BENCHMARKS)} (there are {', '.join(BENCHMARKS)})")
    return known, BENCHMARKS[known]
