"""Groups by any key, filters, and names that do not exist."""

import pytest

from mmrun.errors import ConfigError
from tests.results.compared import compare, three_seeds
from tests.results.compared import outputs as outputs
from tests.results.fabricate import finished, rewrite, started


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
        ({"where": ["seed=0", "seed=1"]}, "--where: two conditions on seed, 0 and 1; seed=0,1 accepts either"),
    ],
)
def test_an_unknown_name_is_an_error_with_the_nearest(outputs, options, message):
    finished(outputs, 0.5)
    with pytest.raises(ConfigError) as raised:
        compare([outputs], **{"by": ["strategy"], "metric": "test/accuracy", **options})
    assert str(raised.value) == message


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
