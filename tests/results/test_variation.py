"""Keys that vary between compared runs and are neither group nor pairing."""

from tests.results.compared import compare, three_seeds
from tests.results.compared import outputs as outputs
from tests.results.fabricate import finished, rewrite


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


SUM = {"fusion": {"_target_": "mmrun.models.fusions.simple.Sum"}, "choices__fusion": "sum"}


def test_another_choice_stands_for_the_keys_below_it(outputs):
    three_seeds(outputs, "scratch", [0.5, 0.6, 0.7])
    three_seeds(outputs, "component", [0.5, 0.6, 0.7], **SUM)
    assert compare([outputs], ["strategy"], "test/accuracy", "scratch", ["seed"]).notices == [
        "fusion is neither group nor pairing and differs between compared runs: concat (n=3), sum (n=3); "
        "fix it with --where, or add it to --by"
    ]
    assert compare([outputs], ["strategy", "fusion"], "test/accuracy").notices == []
    assert compare([outputs], ["fusion"], "test/accuracy").notices == [
        "strategy is neither group nor pairing and differs between compared runs: component (n=3), scratch (n=3); "
        "fix it with --where, or add it to --by"
    ]


def test_an_override_below_a_choice_does_not_go_with_it(outputs):
    finished(outputs, 0.5, "scratch", 0)
    finished(outputs, 0.5, "scratch", 1, fusion__dim=64)
    three_seeds(outputs, "component", [0.5, 0.6, 0.7], **SUM)
    for by in (["strategy"], ["strategy", "fusion"]):
        notices = compare([outputs], by, "test/accuracy").notices
        assert (
            "fusion.dim is neither group nor pairing and differs between compared runs: 128 (n=1), 64 (n=1); "
            "fix it with --where, or add it to --by"
        ) in notices


def test_an_override_below_the_strategy_makes_no_replicate_of_it(outputs):
    finished(outputs, 0.5, "scratch", 0)
    finished(outputs, 0.5, "scratch", 1, strategy__stages__train__share=0.5)
    assert compare([outputs], ["strategy"], "test/accuracy").notices[0] == (
        "strategy.stages.train.share is neither group nor pairing and differs between compared runs: "
        "0.5 (n=1), 1 (n=1); fix it with --where, or add it to --by"
    )


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
    assert notices[-1] == "3 more keys (optimizer.f, optimizer.g, optimizer.h) differ between compared runs"


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
