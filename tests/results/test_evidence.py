"""What a report shows beside the comparison: worth of modalities, noise, groups of rows, classes, gradients, drift."""

import numpy as np
import pytest

from mmrun.results.compare import Question
from mmrun.results.evaluations import OWN_CEILINGS
from mmrun.results.files import read_json, write_json
from mmrun.results.predictions import write_predictions
from mmrun.results.report import classes, content, contribution, findings
from tests.results.fabricate import detail, finished
from tests.results.test_comparison import rewrite

ANY = Question(metric="")
MODALITIES = {"image": {"dim": 64}, "text": {"dim": 32}}


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


@pytest.fixture
def detailed(outputs):
    """Three seeds of two strategies, with all that a run folder holds."""
    for strategy, accuracies in (("holistic", [0.60, 0.70, 0.65]), ("component", [0.70, 0.81, 0.74])):
        for seed, accuracy in enumerate(accuracies):
            detail(finished(outputs, accuracy, strategy, seed))
    return outputs


def sections(outputs, question=ANY):
    report = content.compose(findings.find([outputs], question))
    return {section.title: section for section in report.sections}


def unimodal(outputs, image, text, seed=0, **changes):
    """A run of probes: what it says itself is what the better one says."""
    run = finished(outputs, max(image, text), "unimodal", seed, encoder=MODALITIES, **changes)
    rewrite(
        run,
        primary_head="probe.image",
        metrics__test={"accuracy": image, "accuracy/image": image, "accuracy/text": text},
    )
    return run


def fused(outputs, accuracy, seed=0, strategy="scratch", **changes):
    run = finished(outputs, accuracy, strategy, seed, encoder=MODALITIES, **changes)
    rewrite(run, metrics__test={"accuracy": accuracy})
    return run


def change(run, **values):
    write_json(run.evaluation_file, {**read_json(run.evaluation_file), **values})


# ------------------------------------------------------------------------------------------ what a modality is worth


def test_what_was_evaluated_is_shown(detailed):
    worth = sections(detailed)["What each modality is worth"]
    assert worth.text == (
        "No row of the training data of holistic, component lacked a modality: what they say without one is a guess."
    )
    assert [plot.name for plot in worth.plots] == ["shapley", "missing-holistic", "missing-component"]
    assert worth.plots[0].alt == (
        "Bar chart of Shapley values. holistic: image 0.3250, text 0.1625; component: image 0.3750, text 0.1875."
    )


def test_runs_of_probes_say_what_each_modality_reaches_alone(outputs):
    for seed, (together, image, text) in enumerate([(0.8, 0.6, 0.5), (0.7, 0.6, 0.66), (0.9, 0.7, 0.5)]):
        fused(outputs, together, seed)
        unimodal(outputs, image, text, seed)
    (table,) = sections(outputs)["What each modality is worth"].tables
    assert table.header == [
        *("group", "alone is", "runs", "fused", "image alone", "text alone", "synergy gap", "95 % interval")
    ]
    assert table.rows == [  # gaps 0.2, 0.04, 0.2
        ["scratch", "encoders trained alone", "3", "0.8000", "0.6333", "0.5533", "+0.1467", "-0.0828 .. 0.3761"]
    ]


def test_a_fusion_that_adds_nothing_is_marked(outputs):
    fused(outputs, 0.55)
    unimodal(outputs, 0.6, 0.5)
    (table,) = sections(outputs)["What each modality is worth"].tables
    assert table.rows[0][6:] == ["-0.0500 !", "-"]


@pytest.mark.parametrize(
    "terms",
    [
        {"seed": 1},
        {"budget": {"epochs": 20.0, "steps": None}},
        {"encoder": {**MODALITIES, "text": {"dim": 16}}},
        {"dataset__labelled": 0.5},
    ],
)
def test_probes_of_other_terms_are_no_judges(outputs, terms):
    run = fused(outputs, 0.55)
    other = finished(outputs, 0.6, "unimodal", **{"encoder": MODALITIES, **terms})
    rewrite(other, primary_head="probe.image", metrics__test={"accuracy/image": 0.6, "accuracy/text": 0.5})
    read = [{**one.read_metrics(), "folder": one.path} for one in (run, other)]
    assert contribution.alone(read[0], read, "test", "accuracy") is None


def test_the_best_judge_is_asked_first(outputs):
    run = detail(fused(outputs, 0.8, strategy="holistic"))

    def judged():
        ((_, source, *_, image, text, gap, _),) = sections(outputs)["What each modality is worth"].tables[0].rows
        return source, image, text, gap

    assert judged() == ("itself, the others absent", "0.7000", "0.5000", "+0.1000")
    rewrite(run, metrics__test={"accuracy": 0.8, "accuracy/image": 0.75, "accuracy/text": 0.2})
    assert judged() == ("its own probes", "0.7500", "0.2000", "+0.0500")
    said = read_json(run.evaluation_file)["synergy"]["accuracy"]
    assert said["ceilings"] == OWN_CEILINGS
    change(run, synergy={"accuracy": {**said, "ceilings": "digits-unimodal-s0-12345678"}})
    assert judged() == ("encoders trained alone", "0.7000", "0.5000", "+0.1000")
    unimodal(outputs, 0.6, 0.65)
    assert judged() == ("encoders trained alone", "0.6000", "0.6500", "+0.1500")


def test_errors_fall(outputs):
    run, alone = fused(outputs, 0.5), unimodal(outputs, 0.5, 0.5)
    rewrite(run, metrics__test={"mae": 0.5})
    rewrite(alone, metrics__test={"mae": 0.6, "mae/image": 0.6, "mae/text": 0.9})
    (table,) = sections(outputs, Question(metric="test/mae"))["What each modality is worth"].tables
    assert table.rows[0][6] == "+0.1000"


def test_who_was_not_asked_is_said(outputs):
    detail(fused(outputs, 0.6, seed=0))
    fused(outputs, 0.6, seed=1)
    unimodal(outputs, 0.6, 0.5)
    report = content.compose(findings.find([outputs], ANY))
    assert report.hint == (
        "1 of 2 runs were not asked what they say when modalities are missing or spoiled; "
        "the same command with --eval asks them first."
    )
    (worth,) = [section for section in report.sections if section.title == "What each modality is worth"]
    assert worth.text.startswith(report.hint)


@pytest.mark.parametrize("change_of", [{"split": "val"}, {"metric_version": 0}])
def test_an_evaluation_of_other_rows_or_other_metrics_does_not_count(outputs, change_of):
    change(detail(fused(outputs, 0.6)), **change_of)
    report = content.compose(findings.find([outputs], ANY))
    assert report.hint.startswith("1 of 1 runs were not asked")
    assert "When a modality goes bad" not in [section.title for section in report.sections]


def test_of_another_figure_the_headline_of_its_task_is_shown(outputs):
    run = detail(fused(outputs, 0.6))
    rewrite(run, metrics__test={"accuracy": 0.6, "f1_macro": 0.55})
    worth = sections(outputs, Question(metric="test/f1_macro"))["What each modality is worth"]
    assert worth.tables[0].caption.startswith("test/accuracy, ")


# ------------------------------------------------------------------------------------------------- noise and groups


def test_noise_is_drawn_by_modality_and_summed_up(detailed):
    noise = sections(detailed)["When a modality goes bad"]
    assert [plot.name for plot in noise.plots] == ["noise-image", "noise-text"]
    assert noise.plots[0].alt == (
        "Line plot of accuracy while noise in image grows from 0 to 0.8. "
        "holistic from 0.6500 to 0.4500; component from 0.7500 to 0.5500."
    )
    (table,) = noise.tables
    assert table.header == ["group", "noise in", "runs", "at 0", "at 0.8", "relative", "effective"]
    assert table.rows[0] == ["holistic", "image", "3", "0.6500", "0.4500", "0.5500", "+0.0500"]
    assert len(table.rows) == 4


def test_the_worst_value_of_a_column_is_named(detailed):
    served = sections(detailed)["By site"]
    worst, each = served.tables
    assert worst.rows == [
        ["holistic", "(empty)", "3", "0.6500", "0.5000", "-0.1500", "6"],
        ["component", "(empty)", "3", "0.7500", "0.6000", "-0.1500", "6"],
    ]
    assert each.rows == [["north", "14", "0.7500", "0.8500"], ["(empty)", "6", "0.5000", "0.6000"]]
    assert served.plots[0].alt == (
        "Dot plot of accuracy by site. holistic: worst (empty) 0.5000, all 0.6500; "
        "component: worst (empty) 0.6000, all 0.7500."
    )


def test_of_many_values_the_largest_and_the_worst_are_drawn(outputs):
    run = detail(fused(outputs, 0.6))
    sites = {f"site{place:02}": {"rows": 50 - place, "accuracy": 0.9 - place / 100} for place in range(30)}
    change(run, groups={"label": {"column": "site", "primary_metric": "accuracy", "worst": "site29", "groups": sites}})
    served = sections(outputs)["By site"]
    assert served.plots[0].caption == "accuracy by site, 21 of 30 values; dotted lines are all rows"
    assert len(served.tables[1].rows) == 30


# ------------------------------------------------------------------------------------------------------ before, after


def test_encoders_before_and_after(detailed):
    drift = sections(detailed)["Encoders before and after"]
    assert drift.tables[0].header == [
        *("group", "encoder", "since the end of", "runs", "CKA", "probe then", "probe now", "change")
    ]
    assert drift.tables[0].rows[1] == [
        *("component", "image", "pretrain-image", "3", "0.5000", "0.5500", "0.6500", "+0.1000")
    ]
    assert [plot.name for plot in drift.plots] == ["cka", "probe-label"]
    assert drift.plots[1].alt == (
        "Accuracy of linear probes. holistic image from 0.4500 to 0.5500; component image from 0.5500 to 0.6500."
    )


def test_runs_of_one_stage_have_no_before(outputs):
    change(detail(fused(outputs, 0.6)), drift={})
    assert "Encoders before and after" not in sections(outputs)


# ----------------------------------------------------------------------------------------------------- in training


def test_shares_and_conflicts_over_training(detailed):
    learning = sections(detailed)["How the modalities share in learning"]
    assert [plot.name for plot in learning.plots] == ["gradient-image", "gradient-text", "conflict-image-text"]
    assert learning.tables[0].header == ["group", "runs", "share of image", "share of text", "cosine image-text"]
    assert learning.tables[0].rows[0] == ["holistic", "3", "0.7500", "0.2500", "-0.2500"]
    assert learning.plots[2].alt == (
        "cosine of image-text over epochs (each modality counting its part). "
        "holistic from 0.0000 to -0.5000; component from 0.0000 to -0.5000."
    )


def test_stages_that_teach_one_modality_have_no_shares(outputs):
    run = fused(outputs, 0.6)
    run.log.append({"event": "evaluated", "stage": "train", "epochs": 5.0, "gradient/image": 1.0, "val/accuracy": 0.5})
    run.log.close()
    assert "How the modalities share in learning" not in sections(outputs)


# -------------------------------------------------------------------------------------------------------------- classes


def test_every_run_has_curves_calibration_and_confusion(detailed):
    shown = sections(detailed)["Calibration and classes"]
    assert [plot.name for plot in shown.plots] == [
        *("roc", "precision-recall", "calibration", "confusion-holistic", "confusion-component")
    ]
    assert shown.plots[0].alt.startswith("ROC curves. holistic: area 0.6")


def test_predictions_of_all_seeds_are_added_up():
    found = classes.Classified(["cat", "dog"])
    found.add(np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]), np.array([0, 1, -100]))  # the last class is hidden
    found.add(np.array([[0.3, 0.7]]), np.array([1]))
    assert found.confusion.tolist() == [[1, 0], [1, 1]]
    assert found.calibration_error == pytest.approx((abs(1 - 1.8) + abs(1 - 0.7)) / 3)
    assert len(found.curves) == 2  # the second run has rows of one class: no curve


def test_a_mean_curve_is_the_mean_of_the_curves():
    found = classes.Classified(["cat", "dog"])
    found.add(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))  # perfect, for both classes
    found.add(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([0, 1]))  # all wrong
    mean = found.curve()
    assert (mean.auroc, mean.average_precision) == (0.5, 0.75)
    assert (mean.true_positive_rate[50], mean.precision[50]) == (0.5, 0.75)


def test_labels_have_curves_and_no_confusion(outputs):
    run = fused(outputs, 0.6)
    target = np.array([[1, 0], [0, 1], [1, np.nan], [0, 1], [1, 0]])
    scores = np.array([[0.9, 0.2], [0.1, 0.8], [0.7, 0.5], [0.3, 0.4], [0.6, 0.1]])
    write_predictions(run, "test", list("abcde"), {"tags": target}, {"tags": scores})
    rewrite(run, per_class={"test": {"tags": {"x": {"f1": 1.0}, "y": {"f1": 1.0}}}})
    shown = sections(outputs)["Calibration and classes"]
    assert [plot.name for plot in shown.plots] == ["roc", "precision-recall", "calibration"]
    assert shown.plots[0].alt.startswith("ROC curves. scratch: area 1.000")


def test_numbers_have_no_classes(outputs):
    run = fused(outputs, 0.6)
    write_predictions(run, "test", ["a", "b"], {"age": np.array([1.0, 2.0])}, {"age": np.array([[1.5], [2.0]])})
    rewrite(run, per_class={"test": {"age": {"age": {"mae": 0.25}}}})
    assert "Calibration and classes" not in sections(outputs)


def test_the_task_of_the_metric_is_shown(outputs):
    run = fused(outputs, 0.6)
    target, scores = np.array([0, 1, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    write_predictions(run, "test", list("abcd"), {"kind": target, "size": target}, {"kind": scores, "size": scores})
    names = {"test": {"kind": {"cat": {"f1": 1}, "dog": {"f1": 1}}, "size": {"small": {"f1": 1}, "big": {"f1": 1}}}}
    rewrite(run, per_class=names, metrics__test={"kind.accuracy": 0.75, "size.accuracy": 0.75})
    shown = sections(outputs, Question(metric="test/size.accuracy"))["Calibration and classes"]
    assert shown.text == "Of 2 tasks: size."
    assert shown.plots[-1].alt == "Confusion matrix of scratch; most often big is taken for small: 50%."
