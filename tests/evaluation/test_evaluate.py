import json
from dataclasses import replace

import numpy as np
import pytest

from mmrun import evaluation
from mmrun.errors import ConfigError
from mmrun.evaluation.conditions import CLEAN, SHUFFLED, ZEROS, Variant
from mmrun.evaluation.contribution import evaluate_constant, read_unimodal_metrics, saw_missing
from mmrun.results.files import read_json, to_json_value
from tests.evaluation.conftest import SMALL, train


@pytest.fixture(scope="module")
def full(session):
    return evaluation.evaluate(session, full=True)


@pytest.fixture(scope="module")
def unimodal(folder):
    return train(folder, *SMALL, "strategy=unimodal", "budget.epochs=0.3")


def test_a_full_evaluation_has_every_part(session, full):
    assert list(full) == [
        "schema", "metric_version", "run", "split", "rows", "modalities", "saw_missing", "primary_metrics", "metrics",
        "constant", "missing", "shapley", "synergy", "classes", "robustness", "drift",
    ]  # fmt: skip
    assert (full["split"], full["rows"], full["modalities"]) == ("test", 180, ["image", "text"])
    assert full["primary_metrics"] == ["accuracy"]
    assert full["metrics"]["accuracy"] == session.folder.read_metrics()["metrics"]["test"]["accuracy"]
    for subsets in full["missing"].values():
        assert [subset["present"] for subset in subsets] == [["image"], ["text"], ["image", "text"]]
        assert subsets[-1]["metrics"] == full["metrics"]
    json.dumps(to_json_value(full), allow_nan=False)


def test_shapley_values_sum_to_what_the_model_adds_to_the_constant(full):
    gain = full["metrics"]["accuracy"] - full["constant"]["accuracy"]
    assert list(full["shapley"]["accuracy"]) == ["absent", "zeros", "shuffled"]
    for values in full["shapley"]["accuracy"].values():
        assert sum(values.values()) == pytest.approx(gain, abs=1e-12)


def test_the_constant_predicts_the_class_frequencies_of_the_training_rows(session):
    target = np.array([1] * 30 + [7] * 10)
    labelled = session.data.table.targets["label"].values[session.data.rows["labelled"]]
    most_frequent = np.bincount(labelled).argmax()
    metrics = evaluate_constant(session, {"label": target})
    assert metrics["accuracy"] == (target == most_frequent).mean()
    assert metrics["auroc"] == 0.5
    frequency = np.bincount(labelled, minlength=10) / len(labelled)
    assert metrics["nll"] == pytest.approx(-np.log(frequency[target]).mean(), abs=1e-5)


def test_the_noise_curves_begin_at_the_clean_metrics(full):
    for modality, names in (("image", ["gaussian", "occlusion"]), ("text", ["dropped", "replaced"])):
        robustness = full["robustness"]["metrics"]["accuracy"][modality]
        assert list(robustness["curves"]) == names
        for curve in robustness["curves"].values():
            assert curve["fused"][0] == full["metrics"]["accuracy"]
            assert len(curve["fused"]) == len(curve["alone"]) == 5


def test_the_confusion_matrix_is_that_of_the_stored_predictions(full):
    classes = full["classes"]["label"]
    counts = np.array(classes["confusion"]["counts"])
    assert counts.sum() == 180
    assert np.trace(counts) / 180 == pytest.approx(full["metrics"]["accuracy"])
    assert len(classes["curves"]) == 10


def test_synergy_is_measured_against_a_unimodal_run_where_one_is_passed(session, full, unimodal):
    assert full["synergy"]["accuracy"]["ceilings"] == "this run, the other modalities absent"
    probes = unimodal.folder.read_metrics()["metrics"]["test"]
    synergy = evaluation.evaluate(session, unimodal_run=unimodal.folder)["synergy"]["accuracy"]
    assert synergy["alone"] == {"image": probes["accuracy/image"], "text": probes["accuracy/text"]}
    assert synergy["ceilings"] == unimodal.folder.name
    assert synergy["gap"] == pytest.approx(synergy["fused"] - max(synergy["alone"].values()))


def test_a_unimodal_run_needs_the_same_data_and_seed_and_probes(session, unimodal, folder):
    name = session.folder.name
    with pytest.raises(ConfigError) as caught:
        read_unimodal_metrics(session.folder, session, "test")
    assert str(caught.value) == (
        f"--unimodal-runs {name}: has no accuracy/image on the test rows; "
        "pass a run of strategy=unimodal with the modalities image, text"
    )
    other_seed = train(folder, *SMALL, "strategy=unimodal", "budget.epochs=0.1", "seed=1")
    with pytest.raises(ConfigError) as caught:
        read_unimodal_metrics(other_seed.folder, session, "test")
    assert (
        str(caught.value)
        == f"--unimodal-runs {other_seed.folder.name}: its seed is 1, not 0; pass a run with the same seed"
    )
    fewer_labels = train(folder, *SMALL, "strategy=unimodal", "budget.epochs=0.1", "dataset.labelled=0.5")
    with pytest.raises(ConfigError) as caught:
        read_unimodal_metrics(fewer_labels.folder, session, "test")
    assert str(caught.value) == (
        f"--unimodal-runs {fewer_labels.folder.name}: its labelled share is not that of {name}; "
        "pass a run on the same data"
    )


def test_a_run_without_a_fused_head_raises_an_error(unimodal):
    with pytest.raises(ConfigError) as caught:
        evaluation.evaluate(unimodal)
    assert str(caught.value) == (
        f"{unimodal.folder.name}: its strategy trains only probes (image, text), so there is no fused model to "
        "evaluate; choose a run of another strategy, and pass a unimodal one with --unimodal-runs"
    )


def test_changed_data_raise_an_error(session):
    table = replace(session.data.table, fingerprint="other")
    changed = replace(session, data=replace(session.data, table=table))
    with pytest.raises(ConfigError) as caught:
        evaluation.evaluate_what_if(changed, "test", [], {"image": 0.1})
    assert str(caught.value) == (
        f"{session.folder.name}: the data set has changed since the run was trained; restore the data it was trained on"
    )


def test_whether_training_had_rows_without_a_modality(session, folder, monkeypatch):
    assert not saw_missing(session)
    assert saw_missing(train(folder, *SMALL, "strategy=modality_dropout", "budget.epochs=0.1"))
    present = session.columns["text"].present.clone()
    present[session.data.rows["labelled"][3]] = False
    monkeypatch.setattr(session.columns["text"], "present", present)
    assert saw_missing(session)


def test_what_if_evaluates_clean_input_and_every_corruption(session):
    clean, *corrupted = evaluation.evaluate_what_if(session, "val", ["text"], {"image": 0.3}, "zeros")
    assert clean["given"] == {"image": CLEAN, "text": CLEAN}
    assert [answer["given"] for answer in corrupted] == [
        {"image": Variant("gaussian", 0.3), "text": ZEROS},
        {"image": Variant("occlusion", 0.3), "text": ZEROS},
    ]
    assert clean["metrics"]["accuracy"] == session.folder.read_metrics()["metrics"]["val"]["accuracy"]
    (_, absent) = evaluation.evaluate_what_if(session, "val", ["text"], {})
    assert absent["given"] == {"image": CLEAN, "text": None}
    assert json.dumps(SHUFFLED) == '["shuffled", 0.0]'


def test_saving_keeps_the_other_parts_of_an_earlier_evaluation_of_the_same_split(session, full):
    file = session.folder.path / "evaluation.json"
    evaluation.save(session.folder, full)
    part = {key: full[key] for key in ("schema", "metric_version", "split", "run")}
    evaluation.save(session.folder, {**part, "groups": {}})
    assert list(json.loads(file.read_text())) == ["digest", *full, "groups"]
    evaluation.save(session.folder, {**part, "split": "val"})
    assert read_json(file) == {**part, "split": "val"}
