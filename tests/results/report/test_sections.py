"""The sections of a report beside the comparison: modalities, noise, subgroups, classes, gradients, drift."""

import numpy as np
import pytest

from mmrun.results.compare import Question
from mmrun.results.evaluations import OWN_CEILINGS
from mmrun.results.files import read_json, write_json
from mmrun.results.predictions import write_predictions
from mmrun.results.report import classes, content, contribution, findings
from tests.results.fabricate import detail, finished, rewrite

ANY = Question(metric="")
MODALITIES = {"image": {"dim": 64}, "text": {"dim": 32}}


@pytest.fixture
def outputs(tmp_path):
    return tmp_path / "outputs"


@pytest.fixture
def detailed(outputs):
    """Three seeds of two strategies, with everything that a run folder can hold."""
    for strategy, accuracies in (("holistic", [0.60, 0.70, 0.65]), ("component", [0.70, 0.81, 0.74])):
        for seed, accuracy in enumerate(accuracies):
            detail(finished(outputs, accuracy, strategy, seed))
    return outputs


def build_sections(outputs, question=ANY):
    report = content.build_report(findings.compute_findings([outputs], question))
    return {section.title: section for section in report.sections}


def write_unimodal(outputs, image, text, seed=0, **changes):
    """Write a run of probes; its own metric is that of the better one."""
    run = finished(outputs, max(image, text), "unimodal", seed, encoder=MODALITIES, **changes)
    rewrite(
        run,
        primary_head="probe.image",
        metrics__test={"accuracy": image, "accuracy/image": image, "accuracy/text": text},
    )
    return run


def write_fused(outputs, accuracy, seed=0, strategy="scratch", **changes):
    run = finished(outputs, accuracy, strategy, seed, encoder=MODALITIES, **changes)
    rewrite(run, metrics__test={"accuracy": accuracy})
    return run


def change_evaluation(run, **values):
    write_json(run.evaluation_file, {**read_json(run.evaluation_file), **values})


# ------------------------------------------------------------------------------------------- contribution of modalities


def test_evaluations_are_plotted(detailed):
    section = build_sections(detailed)["Contribution of each modality"]
    assert section.text == (
        "No training row of holistic, component lacked a modality, so their results with missing modalities are "
        "extrapolations."
    )
    assert [plot.name for plot in section.plots] == ["shapley", "missing-holistic", "missing-component"]
    assert section.plots[0].alt == (
        "Bar chart of Shapley values. holistic: image 0.3250, text 0.1625; component: image 0.3750, text 0.1875."
    )


def test_runs_of_probes_give_the_metric_of_each_modality_alone(outputs):
    for seed, (together, image, text) in enumerate([(0.8, 0.6, 0.5), (0.7, 0.6, 0.66), (0.9, 0.7, 0.5)]):
        write_fused(outputs, together, seed)
        write_unimodal(outputs, image, text, seed)
    (table,) = build_sections(outputs)["Contribution of each modality"].tables
    assert table.header == [
        *("group", "unimodal source", "runs", "fused", "image alone", "text alone", "synergy gap", "95 % interval")
    ]
    assert table.rows == [  # gaps 0.2, 0.04, 0.2
        ["scratch", "encoders trained alone", "3", "0.8000", "0.6333", "0.5533", "+0.1467", "-0.0828 .. 0.3761"]
    ]


def test_a_fusion_that_adds_nothing_is_marked(outputs):
    write_fused(outputs, 0.55)
    write_unimodal(outputs, 0.6, 0.5)
    (table,) = build_sections(outputs)["Contribution of each modality"].tables
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
def test_probes_trained_on_other_terms_are_ignored(outputs, terms):
    run = write_fused(outputs, 0.55)
    probed = finished(outputs, 0.6, "unimodal", **{"encoder": MODALITIES, **terms})
    rewrite(probed, primary_head="probe.image", metrics__test={"accuracy/image": 0.6, "accuracy/text": 0.5})
    metrics = [{**folder.read_metrics(), "folder": folder.path} for folder in (run, probed)]
    assert contribution.find_unimodal_metrics(metrics[0], metrics, "test", "accuracy") is None


def test_the_best_source_of_unimodal_metrics_is_used(outputs):
    run = detail(write_fused(outputs, 0.8, strategy="holistic"))

    def read_synergy():
        ((_, source, *_, image, text, gap, _),) = (
            build_sections(outputs)["Contribution of each modality"].tables[0].rows
        )
        return source, image, text, gap

    assert read_synergy() == ("the run, other modalities absent", "0.7000", "0.5000", "+0.1000")
    rewrite(run, metrics__test={"accuracy": 0.8, "accuracy/image": 0.75, "accuracy/text": 0.2})
    assert read_synergy() == ("probes of the run", "0.7500", "0.2000", "+0.0500")
    synergy = read_json(run.evaluation_file)["synergy"]["accuracy"]
    assert synergy["ceilings"] == OWN_CEILINGS
    change_evaluation(run, synergy={"accuracy": {**synergy, "ceilings": "digits-unimodal-s0-12345678"}})
    assert read_synergy() == ("encoders trained alone", "0.7000", "0.5000", "+0.1000")
    write_unimodal(outputs, 0.6, 0.65)
    assert read_synergy() == ("encoders trained alone", "0.6000", "0.6500", "+0.1500")


def test_the_gap_of_an_error_is_positive_where_fusion_lowers_it(outputs):
    run, alone = write_fused(outputs, 0.5), write_unimodal(outputs, 0.5, 0.5)
    rewrite(run, metrics__test={"mae": 0.5})
    rewrite(alone, metrics__test={"mae": 0.6, "mae/image": 0.6, "mae/text": 0.9})
    (table,) = build_sections(outputs, Question(metric="test/mae"))["Contribution of each modality"].tables
    assert table.rows[0][6] == "+0.1000"


def test_unevaluated_runs_are_counted(outputs):
    detail(write_fused(outputs, 0.6, seed=0))
    write_fused(outputs, 0.6, seed=1)
    write_unimodal(outputs, 0.6, 0.5)
    report = content.build_report(findings.compute_findings([outputs], ANY))
    assert report.hint == (
        "1 of 2 runs were not evaluated with missing and noisy modalities; "
        "run the same command with --eval to evaluate them first."
    )
    (section,) = [part for part in report.sections if part.title == "Contribution of each modality"]
    assert section.text.startswith(report.hint)


@pytest.mark.parametrize("change_of", [{"split": "val"}, {"metric_version": 0}])
def test_an_evaluation_of_other_rows_or_other_metrics_does_not_count(outputs, change_of):
    change_evaluation(detail(write_fused(outputs, 0.6)), **change_of)
    report = content.build_report(findings.compute_findings([outputs], ANY))
    assert report.hint.startswith("1 of 1 runs were not evaluated")
    assert "Robustness to noise" not in [section.title for section in report.sections]


def test_the_primary_metric_of_the_task_stands_in_for_other_metrics(outputs):
    run = detail(write_fused(outputs, 0.6))
    rewrite(run, metrics__test={"accuracy": 0.6, "f1_macro": 0.55})
    section = build_sections(outputs, Question(metric="test/f1_macro"))["Contribution of each modality"]
    assert section.tables[0].caption.startswith("test/accuracy, ")


# ------------------------------------------------------------------------------------------------- noise and groups


def test_noise_is_plotted_by_modality_and_tabulated(detailed):
    noise = build_sections(detailed)["Robustness to noise"]
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
    section = build_sections(detailed)["By site"]
    worst, by_value = section.tables
    assert worst.rows == [
        ["holistic", "(empty)", "3", "0.6500", "0.5000", "-0.1500", "6"],
        ["component", "(empty)", "3", "0.7500", "0.6000", "-0.1500", "6"],
    ]
    assert by_value.rows == [["north", "14", "0.7500", "0.8500"], ["(empty)", "6", "0.5000", "0.6000"]]
    assert section.plots[0].alt == (
        "Dot plot of accuracy by site. holistic: worst (empty) 0.5000, all 0.6500; "
        "component: worst (empty) 0.6000, all 0.7500."
    )


def test_of_many_values_the_largest_and_the_worst_are_plotted(outputs):
    run = detail(write_fused(outputs, 0.6))
    sites = {f"site{place:02}": {"rows": 50 - place, "accuracy": 0.9 - place / 100} for place in range(30)}
    change_evaluation(
        run, groups={"label": {"column": "site", "primary_metric": "accuracy", "worst": "site29", "groups": sites}}
    )
    section = build_sections(outputs)["By site"]
    assert section.plots[0].caption == "accuracy by site, 21 of 30 values; dotted lines are all rows"
    assert len(section.tables[1].rows) == 30


# ------------------------------------------------------------------------------------------------------ before, after


def test_encoder_drift_is_tabulated_and_plotted(detailed):
    drift = build_sections(detailed)["Encoder drift"]
    assert drift.tables[0].header == [
        *("group", "encoder", "first trained in", "runs", "CKA", "probe before", "probe after", "change")
    ]
    assert drift.tables[0].rows[1] == [
        *("component", "image", "pretrain-image", "3", "0.5000", "0.5500", "0.6500", "+0.1000")
    ]
    assert [plot.name for plot in drift.plots] == ["cka", "probe-label"]
    assert drift.plots[1].alt == (
        "Accuracy of linear probes. holistic image from 0.4500 to 0.5500; component image from 0.5500 to 0.6500."
    )


def test_runs_of_one_stage_have_no_drift(outputs):
    change_evaluation(detail(write_fused(outputs, 0.6)), drift={})
    assert "Encoder drift" not in build_sections(outputs)


# ----------------------------------------------------------------------------------------------------- in training


def test_shares_and_conflicts_over_training(detailed):
    learning = build_sections(detailed)["Gradients of the modalities"]
    assert [plot.name for plot in learning.plots] == ["gradient-image", "gradient-text", "conflict-image-text"]
    assert learning.tables[0].header == ["group", "runs", "share of image", "share of text", "cosine image-text"]
    assert learning.tables[0].rows[0] == ["holistic", "3", "0.7500", "0.2500", "-0.2500"]
    assert learning.plots[2].alt == (
        "cosine of image-text over epochs (each modality counts its share). "
        "holistic from 0.0000 to -0.5000; component from 0.0000 to -0.5000."
    )


def test_stages_that_train_one_modality_have_no_shares(outputs):
    run = write_fused(outputs, 0.6)
    run.log.append({"event": "evaluated", "stage": "train", "epochs": 5.0, "gradient/image": 1.0, "val/accuracy": 0.5})
    run.log.close()
    assert "Gradients of the modalities" not in build_sections(outputs)


# -------------------------------------------------------------------------------------------------------------- classes


def test_every_run_has_curves_calibration_and_confusion(detailed):
    shown = build_sections(detailed)["Calibration and classes"]
    assert [plot.name for plot in shown.plots] == [
        *("roc", "precision-recall", "calibration", "confusion-holistic", "confusion-component")
    ]
    assert shown.plots[0].alt.startswith("ROC curves. holistic: area 0.6")


def test_predictions_of_all_seeds_are_summed():
    summary = classes.ClassificationSummary(["cat", "dog"])
    summary.add(np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]), np.array([0, 1, -100]))  # the last class is hidden
    summary.add(np.array([[0.3, 0.7]]), np.array([1]))
    assert summary.confusion.tolist() == [[1, 0], [1, 1]]
    assert summary.calibration_error == pytest.approx((abs(1 - 1.8) + abs(1 - 0.7)) / 3)
    assert len(summary.curves) == 2  # the second run has rows of one class: no curve


def test_a_run_whose_classes_are_out_of_range_is_left_out(detailed):
    run = detail(finished(detailed, 0.5, "holistic", seed=3))
    write_predictions(run, "test", ["0", "1"], {"label": np.array([0, 7])}, {"label": np.full((2, 2), 0.5)})
    shown = build_sections(detailed)["Calibration and classes"]
    assert shown.text == f"{run.name} is left out: its predictions of label are not those of its classes."
    assert "confusion-holistic" in [plot.name for plot in shown.plots]


def test_a_mean_curve_is_the_mean_of_the_curves():
    summary = classes.ClassificationSummary(["cat", "dog"])
    summary.add(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))  # perfect, for both classes
    summary.add(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([0, 1]))  # all wrong
    mean = summary.average_curves()
    assert (mean.auroc, mean.average_precision) == (0.5, 0.75)
    assert (mean.true_positive_rate[50], mean.precision[50]) == (0.5, 0.75)


def test_labels_have_curves_and_no_confusion(outputs):
    run = write_fused(outputs, 0.6)
    target = np.array([[1, 0], [0, 1], [1, np.nan], [0, 1], [1, 0]])
    scores = np.array([[0.9, 0.2], [0.1, 0.8], [0.7, 0.5], [0.3, 0.4], [0.6, 0.1]])
    write_predictions(run, "test", list("abcde"), {"tags": target}, {"tags": scores})
    rewrite(run, per_class={"test": {"tags": {"x": {"f1": 1.0}, "y": {"f1": 1.0}}}})
    shown = build_sections(outputs)["Calibration and classes"]
    assert [plot.name for plot in shown.plots] == ["roc", "precision-recall", "calibration"]
    assert shown.plots[0].alt.startswith("ROC curves. scratch: area 1.000")


def test_regression_tasks_have_no_classes(outputs):
    run = write_fused(outputs, 0.6)
    write_predictions(run, "test", ["a", "b"], {"age": np.array([1.0, 2.0])}, {"age": np.array([[1.5], [2.0]])})
    rewrite(run, per_class={"test": {"age": {"age": {"mae": 0.25}}}})
    assert "Calibration and classes" not in build_sections(outputs)


def test_the_task_of_the_metric_is_shown(outputs):
    run = write_fused(outputs, 0.6)
    target, scores = np.array([0, 1, 0, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    write_predictions(run, "test", list("abcd"), {"kind": target, "size": target}, {"kind": scores, "size": scores})
    names = {"test": {"kind": {"cat": {"f1": 1}, "dog": {"f1": 1}}, "size": {"small": {"f1": 1}, "big": {"f1": 1}}}}
    rewrite(run, per_class=names, metrics__test={"kind.accuracy": 0.75, "size.accuracy": 0.75})
    shown = build_sections(outputs, Question(metric="test/size.accuracy"))["Calibration and classes"]
    assert shown.text == "Task size, one of 2."
    assert shown.plots[-1].alt == "Confusion matrix of scratch; the most frequent error is big predicted as small: 50%."
