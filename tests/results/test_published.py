"""Statistics against worked examples that were published, to 1e-6 where they were printed so far or follow exactly."""

import math

import numpy as np
import pytest
from scipy import stats

from mmrun.results import effects, ranks, statistics
from mmrun.results.examples import mcnemar

EXACT = {"rel": 1e-6, "abs": 0}

# Student (1908), hours of sleep gained with two drugs; R prints this as its example of t.test
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]

# Hollander & Wolfe (1973), p. 29: depression of nine patients before and after a tranquilliser; R's wilcox.test
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]

# Hollander & Wolfe (1973), p. 69: permeability of the human chorioamnion at term and at 12 to 26 weeks; R's wilcox.test
AT_TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLIER = [1.15, 0.88, 0.90, 0.74, 1.21]

# Hollander & Wolfe (1973), p. 140: seconds to round first base in three ways, 22 players; R's friedman.test
FIRST_BASE = [
    *[(5.40, 5.50, 5.55), (5.85, 5.70, 5.75), (5.20, 5.60, 5.50), (5.55, 5.50, 5.40), (5.90, 5.85, 5.70)],
    *[(5.45, 5.55, 5.60), (5.40, 5.40, 5.35), (5.45, 5.50, 5.35), (5.25, 5.15, 5.00), (5.85, 5.80, 5.70)],
    *[(5.25, 5.20, 5.10), (5.65, 5.55, 5.45), (5.60, 5.35, 5.45), (5.05, 5.00, 4.95), (5.50, 5.50, 5.40)],
    *[(5.45, 5.55, 5.50), (5.55, 5.55, 5.35), (5.45, 5.50, 5.55), (5.50, 5.45, 5.25), (5.65, 5.60, 5.40)],
    *[(5.70, 5.65, 5.55), (6.30, 6.30, 6.25)],
]

# Demsar (2006), table 6: AUC of C4.5 with cf, m, both or neither tuned, on 14 data sets
C45 = ["neither", "m", "cf", "both"]
AUC = [
    *[(0.763, 0.768, 0.771, 0.798), (0.599, 0.591, 0.590, 0.569), (0.954, 0.971, 0.968, 0.967)],
    *[(0.628, 0.661, 0.654, 0.657), (0.882, 0.888, 0.886, 0.898), (0.936, 0.931, 0.916, 0.931)],
    *[(0.661, 0.668, 0.609, 0.685), (0.583, 0.583, 0.563, 0.625), (0.775, 0.838, 0.866, 0.875)],
    *[(1.000, 1.000, 1.000, 1.000), (0.940, 0.962, 0.965, 0.962), (0.619, 0.666, 0.614, 0.669)],
    *[(0.972, 0.981, 0.9751, 0.975), (0.957, 0.978, 0.946, 0.970)],  # 0.975 twice, and yet the paper ranks them
]

# Benjamini & Hochberg (1995), section 3.2: fifteen p values of a trial of thrombolysis by Neuhaus et al. (1992)
TRIAL = [
    *[0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528],
    *[0.7590, 1.0000],
]


def test_students_paired_t_of_the_sleep_data():
    estimate = statistics.estimate_paired_difference(DRUG_1, DRUG_2)
    assert estimate.value == pytest.approx(-1.58, **EXACT)
    assert estimate.p == pytest.approx(0.00283289, **EXACT)
    assert (estimate.low, estimate.high) == (pytest.approx(-2.4598858, **EXACT), pytest.approx(-0.7001142, **EXACT))


def test_welchs_t_of_the_sleep_data():
    estimate = statistics.estimate_difference(DRUG_1, DRUG_2)  # R: t = -1.8608, df = 17.776, p = 0.07939
    assert estimate.p == pytest.approx(0.07939414, **EXACT)
    assert (estimate.low, estimate.high) == (pytest.approx(-3.3654832, **EXACT), pytest.approx(0.2054832, **EXACT))


def test_cohens_d_of_the_sleep_data():
    # t = -4.0621277 over the root of 10 pairs; J of 9 degrees is gamma(4.5) / (sqrt(4.5) gamma(4))
    bias = math.gamma(4.5) / (math.sqrt(4.5) * math.gamma(4))
    assert effects.paired_hedges_g(DRUG_1, DRUG_2) == pytest.approx(-4.0621277 / math.sqrt(10) * bias, **EXACT)


def test_hedges_table_of_unbiased_factors():
    # Hedges (1981), table of c(m): 0.5642 for 2 degrees, 0.8408 for 5, 0.9228 for 10, 0.9619 for 20
    table = {2: 0.5642, 5: 0.8408, 10: 0.9228, 20: 0.9619}
    assert {m: round(effects.hedges_correction(m), 4) for m in table} == pytest.approx(table, abs=2e-4)
    assert effects.hedges_correction(2) == pytest.approx(1 / math.sqrt(math.pi), **EXACT)


def test_wilcoxons_signed_ranks_of_the_depression_data():
    # V = 40 of 45, one-sided p = 0.01953: 10 of the 512 ways to set the signs, 20 for two sides
    assert statistics.estimate_paired_difference(BEFORE, AFTER, "wilcoxon").p == pytest.approx(20 / 512, **EXACT)


def test_wilcoxons_rank_sum_of_the_permeability_data():
    # W = 35, one-sided p = 0.1272: 382 of the 3003 ways to choose 5 of 15
    assert statistics.estimate_difference(AT_TERM, EARLIER, "wilcoxon").p == pytest.approx(2 * 382 / 3003, **EXACT)
    # Mann and Whitney's probability is W over the number of pairs
    assert effects.probability_of_improvement(AT_TERM, EARLIER, lower_is_better=False).value == pytest.approx(
        35 / 50, **EXACT
    )


def test_fishers_permutations_of_darwins_maize():
    # Fisher (1935), section 21: eighths of an inch by which crossed plants are taller; 863 of the 32768 ways to set the
    # signs sum to 314 or more, so 1726 are as far from 0
    eighths = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]
    expected = 1726 / 32_768
    exact = stats.permutation_test((eighths,), np.sum, permutation_type="samples", n_resamples=np.inf, vectorized=True)
    assert exact.pvalue == pytest.approx(expected, **EXACT)
    # 15 pairs are just too many to be counted out by default, so ours is a sample
    assert statistics.estimate_paired_difference(eighths, [0] * 15, "permutation").p == pytest.approx(
        expected, abs=0.005
    )
    # Student's t of the same data, as Fisher gives it: t = 2.148, p = 0.0497
    assert statistics.estimate_paired_difference(eighths, [0] * 15).p == pytest.approx(0.0497, abs=5e-5)


def test_mcnemars_exact_test():
    # Fay (2010), exact2x2: of 44 pairs 9 and 2 differ, p = 0.06543; (1 + 11 + 55) / 2^10 by hand
    assert mcnemar(9, 2) == pytest.approx(67 / 1024, **EXACT)
    assert mcnemar(2, 9) == mcnemar(9, 2)
    assert mcnemar(0, 0) == 1.0


def test_friedmans_test_of_first_base():
    # chi-square = 11.143, 2 degrees, p = 0.003805; with its ties exactly 78 / 7
    test, statistic, p = ranks.compute_rank_test(-np.array(FIRST_BASE))
    assert (test, statistic, p) == (
        "friedman",
        pytest.approx(78 / 7, **EXACT),
        pytest.approx(math.exp(-39 / 7), **EXACT),
    )


def test_demsars_ranks_and_critical_difference():
    ranked = ranks.rank_within(np.array(AUC), lower_is_better=False)
    assert ranked.mean(0) == pytest.approx(np.array([44, 28, 40.5, 27.5]) / 14, **EXACT)  # 3.143 2.000 2.893 1.964
    assert ranks.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    # the paper's 9.28 does not correct for ties: three data sets tie two of the four, one all
    ties = 1 - (3 * 6 + 60) / (14 * 60)
    assert ranks.compute_rank_test(np.array(AUC))[1] * ties == pytest.approx(9.28, abs=0.005)


def test_nemenyis_critical_values():
    # Demsar (2006), table 5: q at 0.05 for 2 to 10 groups
    table = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
    q = [ranks.critical_difference(k, 1) / math.sqrt(k * (k + 1) / 6) for k in range(2, 11)]
    assert q == pytest.approx(table, abs=1.1e-3)


def test_holm_as_demsar_uses_it():
    # Demsar (2006), section 3.2.2: against untuned C4.5, both p 0.016, m 0.019, cf 0.607; the first two are rejected
    error = math.sqrt(4 * 5 / (6 * 14))
    both, m, cf = (math.erfc((44 - other) / 14 / error / math.sqrt(2)) for other in (27.5, 28, 40.5))
    assert [round(p, 3) for p in (both, m, cf)] == [0.016, 0.019, 0.608]
    assert statistics.holm([cf, m, both]) == pytest.approx([cf, 3 * both, 3 * both], **EXACT)
    assert [p < 0.05 for p in statistics.holm([cf, m, both])] == [False, True, True]


def test_benjamini_and_hochbergs_example():
    adjusted = statistics.benjamini_hochberg(TRIAL)
    # the fourth of fifteen is the last below 4 / 15 * 0.05: four findings
    assert adjusted[:4] == pytest.approx([0.0015, 0.003, 0.0095, 0.035625], **EXACT)
    assert [p < 0.05 for p in adjusted] == [True] * 4 + [False] * 11
    # "Bonferroni rejects the three smallest", and so does Holm
    assert [p < 0.05 for p in statistics.holm(TRIAL)] == [True] * 3 + [False] * 12
    assert statistics.holm(TRIAL)[:4] == pytest.approx([0.0015, 0.0056, 0.0247, 0.114], **EXACT)


def test_power_as_r_computes_it():
    # R, help of power.t.test: n = 20, delta = 1, sd = 1 has power 0.8689528; power 0.90 needs n = 22.02110
    assert effects.detectable_effect(38, math.sqrt(20 / 2), 0.8689528) == pytest.approx(1.0, **EXACT)
    assert effects.detectable_effect(2 * 22.02110 - 2, math.sqrt(22.02110 / 2), 0.90) == pytest.approx(1.0, **EXACT)


def test_power_as_cohen_tables_it():
    # Cohen (1988), table 2.4.1: power 0.80 at d = 0.50 takes 64 a group, at 0.80 26, at 0.20 393
    detectable = [effects.detectable_effect(2 * n - 2, math.sqrt(n / 2)) for n in (64, 26, 393)]
    assert detectable == pytest.approx([0.50, 0.80, 0.20], abs=0.01)


def test_efrons_bca_interval_of_the_spatial_test(monkeypatch):
    # Efron & Tibshirani (1993), table 14.1 and 14.2: the variance of 26 children's scores has the 90 % BCa interval
    # 115.8 to 259.6, by 2,000 draws; its analytic counterpart, ABC, 116.7 to 260.9
    scores = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
    monkeypatch.setattr(statistics, "LEVEL", 0.90)
    assert statistics.bootstrap_interval((scores,), np.var) == pytest.approx((115.8, 259.6), abs=6)
