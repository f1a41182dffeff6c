"""Comparisons of made-up runs, each answer worked out by hand."""

import math

import pytest

from mmrun.errors import ConfigError
from mmrun.results import selection
from mmrun.results.compare import Question
from mmrun.results.compare import compare as compare_runs
from mmrun.results.costs import find_shared_stages
from mmrun.results.files import read_json, write_json
from mmrun.results.index import LOWER_IS_BETTER, LOWER_SUFFIXES
from mmrun.tasks.metrics import METRICS, SUFFIXES
from tests.results.fabricate import finished, stage_cost, started

T2 = 4.302652729911275  # 97.5 % quantile of t with 2 degrees of freedom


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


def compare(folders, by, metric, against=None, paired=(), where=(), **options):
    runs, notices = selection.read_finished(folders)
    question = Question(metric, tuple(by), against, tuple(paired), **options)
    return compare_runs(selection.filter_runs(runs, where), question, notices)


def three_seeds(outputs, strategy, accuracies, **changes):
    return [finished(outputs, accuracy, strategy, seed, **changes) for seed, accuracy in enumerate(accuracies)]


def rewrite(run, **changes):
    """Change a finished run's metrics.json; keys are dotted with "__" for the dot."""
    metrics = read_json(run.metrics_file)
    for key, value in changes.items():
        *places, last = key.split("__")
        node = metrics
        for place in places:
            node = node[place]
        node[last] = value
    write_json(run.metrics_file, metrics)


# -------------------------------------------------------------------------------------------------------------- figures


def test_a_row_has_mean_deviation_interval_and_cost(outputs):
    runs = three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    compared = compare([outputs], ["strategy"], "test/accuracy")
    (row,) = compared.rows
    assert row.group == ("scratch",)
    assert set(row.runs) == {run.name for run in runs}
    assert (row.n, row.mean, row.sd) == (3, pytest.approx(0.6), pytest.approx(0.1))
    assert (row.low, row.high) == (
        pytest.approx(0.6 - 0.1 * T2 / math.sqrt(3)),
        pytest.approx(0.6 + 0.1 * T2 / math.sqrt(3)),
    )
    assert row.cost == {
        "epochs": 10.0,
        "samples": 14_370,
        "seconds": 10.0,
        "flops": 1.5e12,
        "peak_memory": 512 * 1024**2,
        "trainable_parameters": 25_300,
    }
    assert (row.baseline, row.pairs, row.difference, row.p, row.best) == (None, None, None, None, False)
    assert compared.notices == []


def test_differences_are_paired_by_seed(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])  # +0.01, +0.02, +0.03: mean 0.02, sd 0.01
    base, row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows
    assert (base.group, base.difference) == (("scratch",), None)
    assert (row.baseline, row.pairs, row.difference) == (("scratch",), 3, pytest.approx(0.02))
    assert row.difference_low == pytest.approx(0.02 - 0.01 * T2 / math.sqrt(3))
    t = 2 * math.sqrt(3)
    assert row.p == pytest.approx(1 - t / math.sqrt(2 + t * t)) == pytest.approx(0.0741799)
    assert not row.best


def test_without_pairs_the_groups_are_independent(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    _, row = compare([outputs], ["strategy"], "test/accuracy", "scratch").rows
    assert (row.pairs, row.difference) == (None, pytest.approx(0.02))
    assert row.p > 0.8


def test_without_a_baseline_the_first_group_is_paired_with_and_named(outputs):
    for strategy in ("scratch", "component"):
        finished(outputs, 0.5, strategy)
    comparison = compare([outputs], ["strategy"], "test/accuracy", paired=["seed"])
    assert [(row.group, row.baseline) for row in comparison.rows] == [
        (("component",), None),
        (("scratch",), ("component",)),
    ]
    assert (
        "--paired without --against: the baseline is the first group, component; --against GROUP chooses another"
        in comparison.notices
    )


def test_only_common_seeds_are_paired(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    finished(outputs, 0.71, "component", seed=2)
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    row = compared.rows[1]
    assert (row.n, row.pairs, row.difference, row.p) == (1, 1, pytest.approx(0.01), None)
    assert compared.notices == [
        "not every group has the same seed: component has 2; scratch has 0, 1, 2",
        "fewer than 3 runs, so a very wide interval, or none at n=1: component (n=1)",
    ]


def test_of_many_groups_those_with_different_seeds_are_named(outputs):
    for strategy in ("scratch", "component", "holistic", "frozen"):
        three_seeds(outputs, strategy, [0.5, 0.6, 0.7])
    for strategy in ("lora", "adapter"):
        finished(outputs, 0.71, strategy, seed=2)
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.notices[0] == ("not every group has the same seed: adapter, lora have 2; the 4 others have 0, 1, 2")


def test_no_common_seed_no_difference(outputs):
    finished(outputs, 0.5, "scratch", seed=0)
    finished(outputs, 0.6, "component", seed=1)
    row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1]
    assert (row.pairs, row.difference, row.p) == (0, None, None)


def test_p_is_corrected_over_the_rows(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    three_seeds(outputs, "frozen", [0.50, 0.71, 0.60])
    holm = {row.group[0]: row for row in compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows}
    assert holm["component"].p_adjusted == pytest.approx(2 * holm["component"].p)
    assert holm["frozen"].p_adjusted == pytest.approx(holm["frozen"].p)
    plain = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"], correct="none").rows
    assert [row.p_adjusted for row in plain] == [None, None, None]


def test_the_best_is_marked_if_its_lead_is_significant(outputs):
    three_seeds(outputs, "scratch", [0.500, 0.700, 0.600])
    three_seeds(outputs, "component", [0.550, 0.751, 0.649])
    three_seeds(outputs, "holistic", [0.540, 0.741, 0.639])
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert {row.group[0]: row.best for row in compared.rows} == {"scratch": False, "component": True, "holistic": False}
    lower = compare([outputs], ["strategy"], "test/loss", "scratch", ["seed"])  # 1 - accuracy
    assert lower.question.lower_is_better
    assert {row.group[0]: row.best for row in lower.rows} == {"scratch": False, "component": True, "holistic": False}


def test_rows_not_on_equal_terms_are_flagged_and_never_best(outputs):
    three_seeds(outputs, "scratch", [0.500, 0.700, 0.600])
    three_seeds(outputs, "component", [0.650, 0.851, 0.749], budget={"epochs": 20.0, "steps": None})
    three_seeds(outputs, "holistic", [0.540, 0.741, 0.639])
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    rows_by_name = {row.group[0]: row for row in compared.rows}
    assert {name: row.unmatched for name, row in rows_by_name.items()} == {
        "scratch": (),
        "component": ("budget",),
        "holistic": (),
    }
    assert {name: row.best for name, row in rows_by_name.items()} == {
        "scratch": False,
        "component": False,
        "holistic": True,
    }
    assert compared.notices == ["budget differs between compared runs: epochs=10 (n=6), epochs=20 (n=3)"]


def test_an_equal_budget_that_was_not_spent_is_flagged(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.9, 0.9, 0.9]):
        rewrite(run, cost__epochs=9.4)  # of 10: stopped early
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.rows[1].unmatched == ("spending",)
    assert compared.notices == ["component spent 9.4 epochs, scratch 10: more than 5 % apart"]
    rewrite(run, cost__epochs=10.4)  # the mean is 9.73
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1].unmatched == ()


def test_runs_can_be_matched_by_what_they_spent(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.9, 0.9, 0.9], budget={"epochs": None, "steps": 300}):
        rewrite(run, cost__epochs=20.0, cost__flops=1.55e12)
    by_flops = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"], match="flops")
    assert (by_flops.rows[1].unmatched, by_flops.notices) == ((), [])
    by_epochs = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"], match="epochs")
    assert by_epochs.rows[1].unmatched == ("spending",)
    by_budget = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert by_budget.rows[1].unmatched == ("budget",)


def test_stages_that_train_encoders_alone_are_shared_by_several_fusions(outputs):
    base = {"epochs": 10.0, "seconds": 10.0, "flops": 1e12, "samples": 100}
    half = {key: value / 2 for key, value in base.items()}
    dear = {"epochs": 6.0, "seconds": 12.0, "flops": 3e12, "samples": 60}
    finished(outputs, 0.5, "scratch")
    run = finished(outputs, 0.6, "component")
    rewrite(finished(outputs, 0.5, "scratch", seed=1), cost__stages={"train": stage_cost(**base)})
    stages = {"pretrain-image": stage_cost(**half), "pretrain": stage_cost(**dear), "train": stage_cost(**half)}
    rewrite(run, cost__stages=stages, cost__epochs=16.0, cost__seconds=22.0, cost__flops=4e12, cost__samples=160)
    options = {"by": ["strategy"], "metric": "test/accuracy", "against": "scratch"}
    full, shared = (compare([outputs], **options, amortise=fusions).rows[1] for fusions in (1, 4))
    assert (full.cost["epochs"], full.cost["seconds"]) == (16.0, 22.0)
    assert (shared.cost["epochs"], shared.cost["seconds"], shared.cost["flops"]) == (
        *(5 + 11 / 4, 5 + 17 / 4),
        5e11 + 3.5e12 / 4,
    )
    assert shared.cost["peak_memory"] == full.cost["peak_memory"]
    # scratch costs 10 epochs, 10 s, 1.5 TFLOP: 5 + 11 / k < 10 from k = 3, 5 + 17 / k from 4, 0.5 + 3.5 / k from 4
    assert full.break_even == shared.break_even == {"epochs": 3, "seconds": 4, "flops": 4}
    assert compare([outputs], ["strategy"], "test/accuracy", "component").rows[1].break_even == {
        "epochs": 1,
        "seconds": 1,
        "flops": 1,
    }


def test_stages_after_or_without_a_fusion_are_not_shared(outputs):
    run = finished(outputs, 0.5, "component")
    base = run.read_metrics() | {"folder": run.path}
    costs = {"pretrain-image": {}, "pretrain-images": {}, "train": {}}

    def shared(**stages):
        base["config"]["strategy"]["stages"] = {name: {"train": train} for name, train in stages.items()}
        return find_shared_stages(base | {"cost": {"stages": costs}})

    assert shared(pretrain=["encoder.{modality}"], train=["fusion"]) == ["pretrain-image"]
    assert shared(train=["fusion"], pretrain=["encoder.{modality}"]) == []
    assert shared(pretrain=["encoder.{modality}"]) == []
    assert shared(pretrain=["encoder", "fusion"], train=["head"]) == []
    assert shared(pretrain=["*"], train=["head"]) == []


def test_directions_are_those_of_the_metrics():
    assert set(LOWER_IS_BETTER) == {name for name, higher in METRICS.items() if not higher}
    assert set(LOWER_SUFFIXES) == {suffix for suffix, higher in SUFFIXES.items() if not higher}


def test_a_row_has_effect_improvement_and_detectable_difference(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1]
    assert row.effect == pytest.approx(2 * math.sqrt(1 / math.pi))  # d_z is 2; J of 2 degrees is 1 / sqrt(pi)
    assert row.improvement.value == pytest.approx(6 / 9)
    assert row.detectable == pytest.approx(0.01 * 3.2640435498)


def test_the_test_and_the_interval_are_chosen(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    three_seeds(outputs, "component", [0.51, 0.72, 0.63])
    options = {"by": ["strategy"], "metric": "test/accuracy", "against": "scratch", "correct": "none"}
    signed = compare([outputs], **options, paired=["seed"], test="permutation")
    assert signed.rows[1].p == 0.25  # of 8 ways to set the signs, 2 are as extreme
    assert signed.notices == ["with 3 pairs p of the permutation test cannot be below 0.25"]
    # of 20 ways to order the six, the rank sum is as far from the middle in 14
    assert compare([outputs], **options, test="wilcoxon").rows[1].p == pytest.approx(0.7)


def test_the_smallest_p_that_so_few_runs_can_reach_is_told(outputs):
    for strategy in ("scratch", "component", "frozen", "holistic"):
        three_seeds(outputs, strategy, [0.50, 0.70, 0.60])
    options = {"by": ["strategy"], "metric": "test/accuracy", "against": "scratch", "test": "wilcoxon"}
    assert compare([outputs], **options).notices == ["with 3 and 3 runs p of the wilcoxon test cannot be below 0.1"]
    for strategy in ("scratch", "component", "frozen", "holistic"):
        for seed in (3, 4, 5):
            finished(outputs, 0.5 + seed / 100 + len(strategy) / 1000, strategy, seed)
    assert compare([outputs], **options).notices == []  # 3 tests of 6 and 6 runs: 3 * 2 / 924
    assert compare([outputs], **options, paired=["seed"]).notices == [
        "corrected over 3 tests, no p of the wilcoxon test can be below 0.09375"
    ]
    assert compare([outputs], **options, paired=["seed"], correct="bh").notices == []


def test_a_bootstrap_of_few_runs_is_refused(outputs):
    three_seeds(outputs, "scratch", [0.50, 0.70, 0.60])
    with pytest.raises(ConfigError) as raised:
        compare([outputs], ["strategy"], "test/accuracy", interval="bca")
    assert str(raised.value) == (
        "--interval bca: scratch has 3 runs; with fewer than 50 a 95 % bootstrap interval covers less than 93 %; "
        "use --interval t"
    )
    for seed in range(3, 50):
        finished(outputs, 0.5 + seed / 100, "scratch", seed)
    (row,) = compare([outputs], ["strategy"], "test/accuracy", interval="bca").rows
    assert 0.6 < row.low < row.mean < row.high < 0.9


# --------------------------------------------------------------------------------------------------------------- groups


def test_groups_are_by_any_key_and_ordered_by_size_after_the_baseline(outputs):
    for dim in (128, 16, 1024):
        finished(outputs, 0.5, fusion__dim=dim)
    rows = compare([outputs], ["fusion.dim"], "test/accuracy", against="128").rows
    assert [row.group for row in rows] == [("128",), ("16",), ("1024",)]


def test_a_number_may_be_written_in_any_form(outputs):
    for share in (0.1, 1.0):
        finished(outputs, 0.5, dataset__labelled=share)
    rows = compare([outputs], ["dataset.labelled"], "test/accuracy", against="1.0").rows
    assert [row.group for row in rows] == [("1",), ("0.1",)]
    assert [row.group for row in compare([outputs], ["seed"], "test/accuracy", where=["dataset.labelled=.1"]).rows] == [
        ("0",)
    ]


def test_with_two_keys_a_baseline_differs_from_its_group_in_one_value(outputs):
    for dataset, gain in (("digits", 0.1), ("avdigits", 0.2)):
        choices = {"dataset": dataset, "fusion": "concat", "encoder.image": "cnn"}
        for strategy, accuracy in (("scratch", 0.5), ("component", 0.5 + gain)):
            finished(outputs, accuracy, strategy, choices=choices | {"strategy": strategy}, dataset={"labelled": gain})
    rows = compare([outputs], ["dataset", "strategy"], "test/accuracy", against="scratch").rows
    assert [(row.group, row.baseline, row.difference) for row in rows] == [
        (("avdigits", "scratch"), None, None),
        (("avdigits", "component"), ("avdigits", "scratch"), pytest.approx(0.2)),
        (("digits", "scratch"), None, None),
        (("digits", "component"), ("digits", "scratch"), pytest.approx(0.1)),
    ]
    rows = compare([outputs], ["dataset", "strategy"], "test/accuracy", against="digits,scratch").rows
    assert [row.baseline for row in rows] == [None] + 3 * [("digits", "scratch")]


def test_a_list_can_be_named(outputs):
    for modalities, accuracy in ((["image", "audio"], 0.5), (["image"], 0.6), (["image", "audio", "text"], 0.7)):
        finished(outputs, accuracy, modalities=modalities)
    for against in ("[image,audio]", "[image, audio]"):
        rows = compare([outputs], ["modalities"], "test/accuracy", against=against).rows
        assert [row.group for row in rows] == [("[image,audio]",), ("[image,audio,text]",), ("[image]",)]
    (row,) = compare([outputs], ["modalities"], "test/accuracy", where=["modalities=[image]"]).rows
    assert row.mean == 0.6
    rows = compare([outputs], ["strategy", "modalities"], "test/accuracy", against="scratch,[image]").rows
    assert rows[0].group == ("scratch", "[image]")
    assert (
        compare([outputs], ["modalities"], "test/accuracy", where=["modalities=[image],[image,audio]"]).rows[1].n == 1
    )


def test_a_mapping_can_be_named(outputs):
    for lr in (0.1, 0.2):
        finished(outputs, 0.5, optimizer={"lr": lr, "momentum": 7})
    rows = compare([outputs], ["optimizer"], "test/accuracy", against="lr=0.2,momentum=7").rows
    assert rows[0].group == ("lr=0.2,momentum=7",)


def test_a_run_without_the_key_is_a_group_of_its_own(outputs):
    finished(outputs, 0.5)
    finished(outputs, 0.6, fusion={"_target_": "mmrun.models.fusions.simple.Sum"})
    assert [row.group for row in compare([outputs], ["fusion.dim"], "test/accuracy").rows] == [("128",), ("none",)]


def test_where_filters_runs(outputs):
    for seed in range(4):
        finished(outputs, 0.5, seed=seed)
        finished(outputs, 0.6, "component", seed=seed)
    (row,) = compare([outputs], ["strategy"], "test/accuracy", where=["seed=1,2", "strategy=component"]).rows
    assert (row.group, row.n) == (("component",), 2)


# -------------------------------------------------------------------------------------------------------------- notices


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        (
            {"dataset__fingerprint": "other"},
            "data fingerprint differs between compared runs: f-digits (n=3), other (n=3)",
        ),
        ({"dataset__split": "s9"}, "split differs between compared runs: s0 (n=3), s9 (n=3)"),
        ({"budget": {"steps": 7}}, "budget differs between compared runs: epochs=10 (n=3), steps=7 (n=3)"),
        ({"dataset__labelled": 0.1}, "labelled share differs between compared runs: 0.1 (n=3), 1 (n=3)"),
        ({"config__dataset__shots": 1}, "shots differs between compared runs: 1 (n=3), none (n=3)"),
        ({"metric_version": 2}, "metric version differs between compared runs: 1 (n=3), 2 (n=3)"),
        ({"config__trainer__precision": "bf16"}, "precision differs between compared runs: bf16 (n=3), fp32 (n=3)"),
    ],
)
def test_differences_between_compared_runs_are_reported(outputs, change, notice):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.5, 0.6, 0.7]):
        rewrite(run, **change)
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices == [notice]


def test_the_number_of_labelled_rows_is_part_of_equal_terms(outputs):
    for strategy, rows in (("scratch", 10), ("component", 1000)):
        for run in three_seeds(outputs, strategy, [0.5, 0.6, 0.7]):
            rewrite(run, dataset__labelled_rows=rows)
    three_seeds(outputs, "holistic", [0.5, 0.6, 0.7])  # of a version that did not record it
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.notices == ["labelled rows differs between compared runs: 10 (n=3), 1000 (n=3)"]
    assert [row.unmatched for row in compared.rows] == [(), ("labelled rows",), ()]


# ------------------------------------------------------------------------------------ neither group nor pairing


def write_rates(outputs, strategy, accuracies, seed=0):
    """Write runs of one seed that differ in their learning rate."""
    for place, accuracy in enumerate(accuracies):
        finished(outputs, accuracy, strategy, seed, optimizer={"_target_": "torch.optim.SGD", "lr": 10.0**-place})


def test_learning_rates_are_not_replicates(outputs):
    write_rates(outputs, "scratch", [0.50, 0.51, 0.52, 0.53, 0.54, 0.55, 0.56])
    write_rates(outputs, "component", [0.60, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66])
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch")
    assert compared.rows[1].p < 0.001
    assert (compared.rows[1].unmatched, compared.rows[1].best) == (("optimizer.lr",), False)
    assert compared.notices == [
        "optimizer.lr is neither group nor pairing and differs between compared runs: 0.0001 (n=2), 0.001 (n=2), "
        "0.01 (n=2), 0.1 (n=2), 1 (n=2) and 2 more values; fix it with --where, or add it to --by"
    ]


def test_learning_rates_may_pair_runs(outputs):
    write_rates(outputs, "scratch", [0.50, 0.51, 0.52])
    write_rates(outputs, "component", [0.601, 0.609, 0.62])
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["optimizer.lr"])
    assert (compared.rows[1].pairs, compared.rows[1].unmatched, compared.notices) == (3, (), [])


def test_a_rate_that_goes_with_the_seed_is_named(outputs):
    for strategy in ("scratch", "component"):
        for seed in range(3):
            finished(outputs, 0.5, strategy, seed, optimizer={"lr": 10.0**-seed})
    row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1]
    assert row.unmatched == ("optimizer.lr",)


def test_weights_of_the_run_of_the_same_seed_are_accounted_for(outputs):
    for strategy in ("scratch", "component"):
        for seed in range(3):
            finished(outputs, 0.5, strategy, seed, encoder__image__init=f"digits-unimodal-s{seed}:encoder.image")
    row = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1]
    assert row.unmatched == ()
    for seed in range(3):
        finished(outputs, 0.5, "holistic", seed)  # from random weights
    rows = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows
    assert {row.group[0]: row.unmatched for row in rows}["holistic"] == ("encoder.image.init",)


def test_a_key_that_differs_between_groups_can_be_part_of_the_group(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    three_seeds(outputs, "component", [0.5, 0.6, 0.7], fusion__dim=64)
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).rows[1].unmatched == ("fusion.dim",)
    rows = compare([outputs], ["strategy", "fusion.dim"], "test/accuracy", "scratch,128", ["seed"]).rows
    assert rows[1].unmatched == ()


def test_another_class_stands_for_all_keys_below_it(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    three_seeds(outputs, "component", [0.5, 0.6, 0.7], fusion={"_target_": "mmrun.models.fusions.simple.Sum"})
    compared = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert compared.notices == [
        "fusion is neither group nor pairing and differs between compared runs: Concat (n=3), Sum (n=3); "
        "fix it with --where, or add it to --by"
    ]
    by_fusion = compare([outputs], ["strategy", "fusion"], "test/accuracy")
    assert by_fusion.notices == []


def test_keys_of_a_newer_version_have_their_default_in_older_runs(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    for run in three_seeds(outputs, "component", [0.5, 0.6, 0.7]):
        rewrite(run, config__trainer__group_by_length=False, config__balance=None)
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices == []


def test_of_many_differing_keys_the_first_are_described(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7], optimizer=dict.fromkeys("abcdefgh", 1))
    three_seeds(outputs, "component", [0.5, 0.6, 0.7], optimizer=dict.fromkeys("abcdefgh", 2))
    notices = compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices
    assert len(notices) == 6
    assert notices[-1] == "3 more keys differ between compared runs: optimizer.f, optimizer.g, optimizer.h"


def test_a_split_that_depends_on_the_seed_is_equal_within_each_pair(outputs):
    for strategy in ("scratch", "component"):
        for seed, run in enumerate(three_seeds(outputs, strategy, [0.5, 0.6, 0.7])):
            rewrite(run, dataset__split=f"s{seed}")
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices == []
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch").notices == [
        "split differs between compared runs: s0 (n=2), s1 (n=2), s2 (n=2)"
    ]


def test_differences_explained_by_a_key_are_not_reported(outputs):
    for epochs in (5.0, 10.0):
        three_seeds(outputs, "scratch", [0.5, 0.6, 0.7], budget={"epochs": epochs, "steps": None})
    assert compare([outputs], ["budget.epochs"], "test/accuracy").notices == []
    assert compare([outputs], ["strategy"], "test/accuracy").notices == [
        "budget differs between compared runs: epochs=10 (n=3), epochs=5 (n=3)"
    ]


def test_runs_that_are_left_out_are_named(outputs):
    runs = three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    rewrite(finished(outputs, 0.5, seed=3), metrics__test={"loss": 0.1})
    rewrite(finished(outputs, 0.5, seed=4), metrics__test__accuracy=None)
    failed, running = started(outputs, seed=5), started(outputs, seed=6)
    failed.status.write("failed")
    compared = compare([outputs], ["strategy"], "test/accuracy")
    assert set(compared.rows[0].runs) == {run.name for run in runs}
    assert (
        compared.notices[0] == f"not finished and left out: 2 runs ({failed.name} (failed), {running.name} (running))"
    )
    assert compared.notices[1].startswith("without test/accuracy and left out: 2 runs (digits-scratch-s3-")


def test_a_run_in_two_folders_counts_once(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    assert compare([outputs, outputs / "default"], ["strategy"], "test/accuracy").rows[0].n == 3
    again = finished(outputs, 0.5, seed=0, experiment="copy")
    compared = compare([outputs], ["strategy"], "test/accuracy")
    assert compared.rows[0].n == 3
    assert compared.notices == [f"in more than one folder and counted once: 1 run ({again.name})"]


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"by": ["stratgy"]},
            "no run has the key 'stratgy'; did you mean 'strategy'? (there are budget.epochs, budget.steps, dataset, "
            "dataset._target_, dataset.labelled, encoder.image, encoder.image._target_, encoder.image.dim, fusion, "
            "fusion._target_, fusion.dim, seed, strategy, strategy.stages.train.share, strategy.stages.train.train, "
            "trainer.precision, trainer.progress, trainer.save_every, trainer.trackers)",
        ),
        (
            {"metric": "test/acuracy"},
            "--metric: no run has 'test/acuracy'; did you mean 'test/accuracy'? (there are test/accuracy, "
            "test/accuracy/image, test/loss, val/accuracy, val/loss)",
        ),
        ({"against": "scrach"}, "--against: no group 'scrach'; did you mean 'scratch'? (there are scratch)"),
        ({"where": ["dataset=digts"]}, "--where: no run has dataset=digts; did you mean 'digits'? (there are digits)"),
        ({"where": ["digits"]}, "--where digits: not of the form key=value"),
        ({"by": ["budget.steps"]}, "'budget.steps' is not set in any run"),
        (
            {"where": ["seed=0", "seed=1"]},
            "--where: two conditions on seed, 0 and 1; seed=0,1 accepts either",
        ),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest(outputs, options, message):
    finished(outputs, 0.5)
    with pytest.raises(ConfigError) as raised:
        compare([outputs], **{"by": ["strategy"], "metric": "test/accuracy", **options})
    assert str(raised.value) == message


def test_amortise_must_be_at_least_one(outputs):
    finished(outputs, 0.5)
    with pytest.raises(ConfigError, match=r"^--amortise: 0 is not a number of fusions; 1 charges everything to one$"):
        compare([outputs], ["strategy"], "test/accuracy", amortise=0)


def test_an_ambiguous_pair_is_an_error_that_names_both_runs_and_a_differing_key(outputs):
    finished(outputs, 0.5)
    first = finished(outputs, 0.6, "component")
    second = finished(outputs, 0.7, "component", fusion__dim=64)
    names = sorted([first.name, second.name])
    with pytest.raises(ConfigError) as raised:
        compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"])
    assert str(raised.value) == (
        f"--paired: {names[0]} and {names[1]} are in the same group and both have seed=0; "
        "tell them apart with --where or --by, for example fusion.dim"
    )


def test_no_finished_run_is_an_error(outputs):
    run = started(outputs)
    with pytest.raises(ConfigError) as raised:
        compare([outputs], ["strategy"], "test/accuracy")
    assert str(raised.value) == (
        f"no finished run below {outputs}; not finished and left out: 1 run ({run.name} (running))"
    )
