"""Do the statistics of `mmrun compare` keep their word? Simulated: how often intervals cover, how often tests err.

python benchmarks/intervals.py [COMPARISONS [PART ...]], where a part is paired, crossings ... (see SIMULATIONS). Each
line prints a coverage (aim: 93 to 97 %) or a rate of false alarms (aim: at most 6 %), and `!` where it is missed.
"""

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import stats

from mmrun.results import compare, curves, effects, examples, ranks, statistics
from mmrun.results.compare import Comparison, Question, Row
from mmrun.results.curves import Curves

warnings.filterwarnings("ignore")  # of SciPy, that a bootstrap of equal values has no spread

SEEDS = (3, 5, 10, 20)
STRATEGIES = 8  # all equal: a baseline and seven compared with it
TEST_ROWS = 360  # an accuracy is a count of these
GAIN = 0.02
COVERAGE = (0.93, 0.97)
FALSE_ALARMS = 0.06

Draw = Callable[[int, float, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
    for simulate in SIMULATIONS:
        name = simulate.__name__.removeprefix("simulate_")
        if len(sys.argv) <= 2 or name in sys.argv[2:]:
            simulate(number, np.random.default_rng(0))


def print_coverage(name: str, share: float, number: int) -> None:
    """Print the share of intervals that hold the true value."""
    mark = "" if COVERAGE[0] <= share <= COVERAGE[1] else " !"
    print(f"  {name:58} covers {share:6.1%} of {number}{mark}", flush=True)


def print_alarms(name: str, share: float, number: int) -> None:
    """Print the share of comparisons of equal groups with a finding."""
    print(f"  {name:58} errs {share:6.1%} of {number}{'' if share <= FALSE_ALARMS else ' !'}", flush=True)


# ------------------------------------------------------------------------------------------------------------ scores


def draw_normal(seeds: int, gain: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores of two strategies that share a part of each seed's luck [n], [n]."""
    luck = rng.normal(0, 0.02, seeds)
    return 0.8 + gain + luck + rng.normal(0, 0.01, seeds), 0.8 + luck + rng.normal(0, 0.01, seeds)


def draw_accuracies(seeds: int, gain: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw the same as shares of right answers on a small test split: near 1, and so skewed."""
    luck = rng.beta(60, 4, seeds)  # of mean 60 / 64
    lost = gain * 64 / 60
    return rng.binomial(TEST_ROWS, luck * (1 - lost)) / TEST_ROWS, rng.binomial(TEST_ROWS, luck) / TEST_ROWS


# Scores by name, and the sign of the gain in them
DRAWS: dict[str, tuple[Draw, int]] = {
    "normal": (draw_normal, 1),
    f"accuracy of {TEST_ROWS} rows": (draw_accuracies, -1),
}


def covers(low: float | None, high: float | None, true: float) -> bool:
    """Return whether there is an interval and it holds the true value."""
    return low is not None and high is not None and low <= true <= high


# --------------------------------------------------------------------------------------- means, differences and tests


def simulate_paired(number: int, rng: np.random.Generator) -> None:
    """Simulate Student's intervals of a mean and of a paired difference."""
    print("Student's 95 % intervals, paired runs")
    for seeds in SEEDS:
        for name, (draw, sign) in DRAWS.items():
            of_difference, of_mean = 0, 0
            for _ in range(number):
                values, baseline = draw(seeds, GAIN, rng)
                difference = statistics.estimate_paired_difference(values, baseline)
                of_difference += covers(difference.low, difference.high, sign * GAIN)
                mean = statistics.estimate_mean(baseline)
                of_mean += covers(mean.low, mean.high, 0.8 if sign > 0 else 60 / 64)
            print_coverage(f"n = {seeds:2}, {name}, difference", of_difference / number, number)
            print_coverage(f"n = {seeds:2}, {name}, mean", of_mean / number, number)


def simulate_independent(number: int, rng: np.random.Generator) -> None:
    """Simulate Welch's intervals of the difference of two groups, the second with half the deviation."""
    print("Welch's 95 % intervals, independent runs, deviations of 0.02 and 0.01")
    for seeds in SEEDS:
        covered = 0
        for _ in range(number):
            values, baseline = rng.normal(GAIN, 0.02, seeds), rng.normal(0, 0.01, seeds)
            estimate = statistics.estimate_difference(values, baseline)
            covered += covers(estimate.low, estimate.high, GAIN)
        print_coverage(f"n = {seeds:2} and {seeds:2}", covered / number, number)


def simulate_bootstrap(number: int, rng: np.random.Generator) -> None:
    """Simulate bootstrap intervals of a paired difference; fewer runs than MIN_BOOTSTRAP are refused."""
    number //= 4
    print(f"bootstrap intervals (BCa); fewer than {statistics.MIN_BOOTSTRAP} runs are refused")
    for seeds in (2, 10, 20, 30, statistics.MIN_BOOTSTRAP, 2 * statistics.MIN_BOOTSTRAP):
        for name, (draw, sign) in DRAWS.items():
            covered = 0
            for _ in range(number):
                differences = np.subtract(*draw(seeds, GAIN, rng)).round(12)
                low, high = statistics.bootstrap_interval((differences,), np.mean, resamples=1_999)
                covered += covers(low, high, sign * GAIN)
            print_coverage(f"n = {seeds:2}, {name}", covered / number, number)


def simulate_tests(number: int, rng: np.random.Generator) -> None:
    """Simulate any finding among equal strategies, paired and not."""
    print(f"any p below 0.05 among {STRATEGIES} equal strategies, 7 against the eighth")
    for seeds in SEEDS[1:]:
        for estimate in (statistics.estimate_paired_difference, statistics.estimate_difference):
            for test in ("t", "permutation", "wilcoxon"):
                rounds = number if test == "t" else number // 8
                alarms = np.zeros(3)
                for _ in range(rounds):
                    luck = rng.normal(0, 0.02, seeds) if estimate is statistics.estimate_paired_difference else 0
                    scores = 0.8 + luck + rng.normal(0, 0.01, (STRATEGIES, seeds))
                    p_values = [estimate(one, scores[0], test).p for one in scores[1:]]
                    corrections = [p_values, statistics.holm(p_values), statistics.benjamini_hochberg(p_values)]
                    alarms += [min(corrected) < 0.05 for corrected in corrections]
                pairing = "paired" if estimate is statistics.estimate_paired_difference else "not paired"
                for correction, share in zip(("Holm", "BH"), alarms[1:] / rounds, strict=True):
                    print_alarms(f"n = {seeds:2}, {pairing}, {test}, {correction}", share, rounds)
                if test == "t":
                    print(f"  n = {seeds:2}, {pairing}, t, uncorrected: {alarms[0] / rounds:.1%}")


def simulate_win_rates(number: int, rng: np.random.Generator) -> None:
    """Simulate the intervals of P(better), of independent runs."""
    number //= 2
    print(f"P(better), independent runs; fewer than {effects.MIN_RUNS} and paired runs have no interval")
    for seeds in (5, 10, 20):
        for gain in (0.0, 1.0, 2.0):
            true, covered = stats.norm.cdf(gain / 2**0.5), 0
            for _ in range(number):
                values, baseline = rng.normal(gain, 1, seeds), rng.normal(0, 1, seeds)
                improvement = effects.probability_of_improvement(values, baseline, lower_is_better=False)
                covered += covers(improvement.low, improvement.high, true)
            print_coverage(f"n = {seeds:2} and {seeds:2}, true P(better) {true:.2f}", covered / number, number)


def simulate_detectable(number: int, rng: np.random.Generator) -> None:
    """Simulate how often the detectable difference is detected, where the deviation is known."""
    print("detectable: share of paired t-tests that detect it (aim: 80 %)")
    for seeds in SEEDS:
        gain = effects.detectable_effect(seeds - 1, seeds**0.5)
        differences = rng.normal(gain, 1, (number, seeds))
        detected = np.mean([statistics.estimate_paired_difference(row, 0 * row).p < 0.05 for row in differences])
        print(f"  n = {seeds:2}: {detected:.1%} of {number}", flush=True)


# ------------------------------------------------------------------------------------------------ curves and rankings


def compare_points(differences: np.ndarray) -> Curves:  # [S, V]
    """Compare two groups at V points of an axis by paired differences."""
    comparisons = []
    question = Question(against="a", paired=("seed",))
    p_values = stats.ttest_1samp(differences, 0).pvalue  # as estimate_paired_difference, but at once
    for mean, p in zip(differences.mean(0).tolist(), p_values.tolist(), strict=True):
        base = Row(("a",), [], len(differences), 0.0, None, None, None, cost={})
        row = replace(base, group=("b",), baseline=("a",), difference=mean, p=p)
        comparisons.append(Comparison(question, [base, row], []))
    values = np.linspace(0, 1, differences.shape[1]).tolist()
    return Curves(question, "x", False, values, compare.correct_together(comparisons), [], [])


def draw_curve(seeds: int, means: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw differences [S, V] around means [V], with a deviation of 1, a quarter of whose square goes with the seed."""
    shape = (seeds, len(means))
    return means + rng.normal(0, 0.5, (seeds, 1)) + rng.normal(0, 0.75**0.5, shape)


def find_crossings(compared: Curves, differences: np.ndarray) -> list[curves.Crossing]:
    """Find the crossings as `mmrun compare --curve-over` does."""
    rows = [comparison.rows[1] for comparison in compared.comparisons]
    return curves._find_crossings(compared, rows, differences)


def simulate_curves(number: int, rng: np.random.Generator) -> None:
    """Simulate findings along curves that are equal everywhere, and crossings of curves that never cross."""
    number //= 4
    print("two equal strategies compared at several values")
    for seeds in (3, 5, 10):
        for points in (3, 5, 10):
            any_value, crossed, crossed_parallel = 0, 0, 0
            for _ in range(number):
                differences = draw_curve(seeds, np.zeros(points), rng)
                compared = compare_points(differences)
                any_value += any(compare.is_significant(comparison.rows[1]) for comparison in compared.comparisons)
                crossed += bool(find_crossings(compared, differences))
                parallel = draw_curve(seeds, np.full(points, 1.0), rng)
                crossed_parallel += bool(find_crossings(compare_points(parallel), parallel))
            name = f"n = {seeds:2}, {points:2} values"
            print_alarms(f"{name}, a difference at any value", any_value / number, number)
            print_alarms(f"{name}, a crossing", crossed / number, number)
            print_alarms(f"{name}, a crossing of parallel curves", crossed_parallel / number, number)


def simulate_crossings(number: int, rng: np.random.Generator) -> None:
    """Simulate the intervals of true crossings, as far as they are found."""
    number //= 2
    print(f"intervals of true crossings that are found; fewer than {curves.MIN_SEEDS} seeds have none")
    for seeds in (5, 10, 20):
        for points in (3, 5, 10):
            for slope in (4, 8):
                at, found, covered = 0.45, 0, 0
                means = slope * (np.linspace(0, 1, points) - at)
                for _ in range(number):
                    differences = draw_curve(seeds, means, rng)
                    for crossing in find_crossings(compare_points(differences), differences):
                        found += 1
                        covered += covers(crossing.low, crossing.high, at)
                name = f"n = {seeds:2}, {points:2} values, {slope} deviations end to end, found {found / number:.0%}"
                print_coverage(name, covered / max(found, 1), found)


def simulate_ranks(number: int, rng: np.random.Generator) -> None:
    """Simulate findings of Friedman's and Nemenyi's, or Wilcoxon's test among equal groups."""
    number //= 4
    print("ranks of equal groups over data sets, any pair apart")
    for groups in (2, 3, 5, 8):
        for blocks in (3, 5, 10, 20):
            alarms = 0
            critical = None if groups == 2 else ranks.critical_difference(groups, blocks)
            for _ in range(number):
                means = rng.normal(0, 1, (blocks, groups))
                _, _, p = ranks.compute_rank_test(means)
                of_groups = np.sort(ranks.rank_within(means, lower_is_better=False).mean(0))
                names = [(str(place),) for place in range(groups)]
                alarms += bool(ranks._find_differing_pairs(names, of_groups.tolist(), critical, p))
            print_alarms(f"{groups} groups, {blocks:2} data sets", alarms / number, number)


# ----------------------------------------------------------------------------------------------------------- examples


def simulate_rows(number: int, rng: np.random.Generator) -> None:
    """Simulate the tests and intervals of two models on independent rows."""
    print("two models on independent rows")
    for rows in (50, 180, 1000):
        units = np.ones(rows, int)
        alarms, covered = np.zeros(2), 0
        for _ in range(number):
            right = rng.random((2, rows)) < rng.beta(8, 2, rows)  # some rows are harder, for both
            gains = right[0].astype(float) - right[1]
            errors = np.subtract(*np.abs(rng.normal(0, 1, (2, rows))))
            alarms += [examples._test_rows("accuracy", gains)[1] < 0.05, examples._test_rows("", errors)[1] < 0.05]
            low, high = examples._mean_interval(gains, units, bounded=True)
            covered += covers(low, high, 0.0)
        print_alarms(f"{rows:4} rows, McNemar", alarms[0] / number, number)
        print_alarms(f"{rows:4} rows, signed ranks of errors", alarms[1] / number, number)
        print_coverage(f"{rows:4} rows, difference of accuracies", covered / number, number)


def simulate_groups(number: int, rng: np.random.Generator) -> None:
    """Simulate two equal models that are right or wrong on whole patients, of unequal size."""
    number //= 4
    print("two equal models on patients of 10 to 50 rows, each model mostly right or mostly wrong on a patient")
    for patients in (10, 20, 50):
        single, grouped, covered = 0, 0, 0
        for _ in range(number):
            sizes = rng.integers(10, 51, patients)
            patient = np.repeat(np.arange(patients), sizes)
            right = rng.random((2, len(patient))) < rng.beta(1, 0.5, (2, patients))[:, patient]
            gains = right[0].astype(float) - right[1]
            sums = np.bincount(patient, gains)
            single += examples._test_rows("accuracy", gains)[1] < 0.05
            grouped += examples._test_groups(sums) < 0.05
            low, high = examples._mean_interval(sums, sizes, bounded=True)
            covered += covers(low, high, 0.0)
        print(f"  {patients} patients, McNemar as if rows were independent: {single / number:.1%} false")
        print_alarms(f"{patients} patients, permutation of groups", grouped / number, number)
        print_coverage(f"{patients} patients, difference of accuracies", covered / number, number)


SIMULATIONS = (
    *(simulate_paired, simulate_independent, simulate_bootstrap, simulate_tests, simulate_win_rates),
    *(simulate_detectable, simulate_curves, simulate_crossings, simulate_ranks, simulate_rows, simulate_groups),
)

if __name__ == "__main__":
    main()
