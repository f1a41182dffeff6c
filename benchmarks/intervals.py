"""Do the statistics of `mmrun compare` keep their word? Simulated: how often intervals cover, how often Holm errs.

python benchmarks/intervals.py [COMPARISONS]
"""

import sys
import warnings

import numpy as np

from mmrun.results import statistics

warnings.filterwarnings("ignore")  # of SciPy, that a bootstrap of five equal values has no spread

SEEDS = (5, 10, 20)
MORE_SEEDS = 50  # where the bootstrap comes into its own
STRATEGIES = 8  # all equal: a baseline and seven compared with it
TEST_ROWS = 360  # an accuracy is a count of these


def main() -> None:
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    rng = np.random.default_rng(0)
    print(f"95 % intervals of a paired difference that is 0.02, {comparisons} comparisons each:")
    for seeds in (*SEEDS, MORE_SEEDS):
        for name, draw in DRAWS.items():
            for interval, number in (("t", comparisons), ("bca", comparisons // 4)):
                share = coverage(seeds, draw, interval, number, rng)
                print(f"  n = {seeds:2}, {name:22} {interval:3} covers {share:.1%} (of {number})")
    print(f"a false alarm among {STRATEGIES} equal strategies, {comparisons} comparisons each:")
    for seeds in SEEDS:
        for test in ("t", "permutation", "wilcoxon"):
            number = comparisons if test == "t" else comparisons // 8
            plain, holm, bh = false_alarms(seeds, test, number, rng)
            print(f"  n = {seeds:2}, {test:11} uncorrected {plain:.1%}, Holm {holm:.1%}, BH {bh:.1%} (of {number})")


def normal(seeds: int, gain: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Give scores of two strategies that share a part of each seed's luck."""
    luck = rng.normal(0, 0.02, seeds)
    return (0.8 + gain + luck + rng.normal(0, 0.01, seeds)), (0.8 + luck + rng.normal(0, 0.01, seeds))


def accuracies(seeds: int, gain: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Give the same as shares of right answers on a small test split, high and so skewed."""
    luck = rng.beta(60, 4, seeds)
    return (rng.binomial(TEST_ROWS, luck * (1 - gain)) / TEST_ROWS), (rng.binomial(TEST_ROWS, luck) / TEST_ROWS)


DRAWS = {"normal": normal, f"accuracy of {TEST_ROWS} rows": accuracies}


def coverage(seeds: int, draw, interval: str, number: int, rng: np.random.Generator) -> float:
    """Give the share of intervals that hold the true difference."""
    true = 0.02 if draw is normal else -0.02 * 60 / 64  # a beta(60, 4) has mean 60 / 64
    covered = 0
    for _ in range(number):
        found = statistics.estimate_paired_difference(*draw(seeds, 0.02, rng), interval=interval)
        covered += found.low is not None and found.low <= true <= found.high
    return covered / number


def false_alarms(seeds: int, test: str, number: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Give the share of comparisons of equal strategies in which any p is below 0.05: plain, by Holm, by BH."""
    alarms = np.zeros(3)
    for _ in range(number):
        scores = 0.8 + rng.normal(0, 0.02, seeds) + rng.normal(0, 0.01, (STRATEGIES, seeds))
        ps = [statistics.estimate_paired_difference(one, scores[0], test).p for one in scores[1:]]
        alarms += [min(ps) < 0.05, min(statistics.holm(ps)) < 0.05, min(statistics.benjamini_hochberg(ps)) < 0.05]
    return tuple(alarms / number)


if __name__ == "__main__":
    main()
