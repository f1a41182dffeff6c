import json
from dataclasses import replace

import numpy as np
import pytest

from mmrun import evaluation
from mmrun.errors import ConfigError
from mmrun.evaluation.conditions import Given
from mmrun.evaluation.contribution import ceilings, constant, saw_missing
from mmrun.results.files import to_json_value
from tests.evaluation.conftest import SMALL, train


@pytest.fixture(scope="module")
def found(session):
    return evaluation.evaluate(session, everything=True)


@pytest.fixture(scope="module")
def unimodal(folder):
    return train(folder, *SMALL, "strategy=unimodal", "budget.epochs=0.3")


def test_what_a_whole_evaluation_holds(session, found):
    assert list(found) == [
        "schema", "metric_version", "run", "split", "rows", "modalities", "saw_missing", "primary_metrics", "metrics",
        "constant", "missing", "shapley", "synergy", "classes", "robustness", "drift",
    ]  # fmt: skip
    assert (found["split"], found["rows"], found["modalities"]) == ("test", 180, ["image", "text"])
    assert found["primary_metrics"] == ["accuracy"]
    assert found["metrics"]["accuracy"] == session.folder.read_metrics()["metrics"]["test"]["accuracy"]
    for listed in found["missing"].values():
        assert [one["present"] for one in listed] == [["image"], ["text"], ["image", "text"]]
        assert listed[-1]["metrics"] == found["metrics"]
    json.dumps(to_json_value(found), allow_nan=False)


def test_shapley_values_share_out_what_the_model_adds_to_the_constant(found):
    whole = found["metrics"]["accuracy"] - found["constant"]["accuracy"]
    assert list(found["shapley"]["accuracy"]) == ["absent", "zeros", "shuffled"]
    for worth in found["shapley"]["accuracy"].values():
        assert sum(worth.values()) == pytest.approx(whole, abs=1e-12)


def test_the_constant_knows_the_training_classes_alone(session):
    target = np.array([1] * 30 + [7] * 10)
    labelled = session.data.table.targets["label"].values[session.data.rows["labelled"]]
    most = np.bincount(labelled).argmax()
    told = constant(session, {"label": target})
    assert told["accuracy"] == (target == most).mean()
    assert told["auroc"] == 0.5
    frequency = np.bincount(labelled, minlength=10) / len(labelled)
    assert told["nll"] == pytest.approx(-np.log(frequency[target]).mean(), abs=1e-5)


def test_the_noise_curves_begin_at_the_figures_themselves(found):
    for modality, names in (("image", ["gaussian", "occlusion"]), ("text", ["dropped", "replaced"])):
        said = found["robustness"]["metrics"]["accuracy"][modality]
        assert list(said["curves"]) == names
        for curve in said["curves"].values():
            assert curve["fused"][0] == found["metrics"]["accuracy"]
            assert len(curve["fused"]) == len(curve["alone"]) == 5


def test_the_confusion_matrix_is_that_of_the_stored_predictions(found):
    told = found["classes"]["label"]
    counts = np.array(told["confusion"]["counts"])
    assert counts.sum() == 180
    assert np.trace(counts) / 180 == pytest.approx(found["metrics"]["accuracy"])
    assert len(told["curves"]) == 10


def test_ceilings_of_a_unimodal_run_take_the_place_of_the_runs_own(session, found, unimodal):
    assert found["synergy"]["accuracy"]["ceilings"] == "this run, the other modalities absent"
    theirs = unimodal.folder.read_metrics()["metrics"]["test"]
    told = evaluation.evaluate(session, unimodal=unimodal.folder)["synergy"]["accuracy"]
    assert told["alone"] == {"image": theirs["accuracy/image"], "text": theirs["accuracy/text"]}
    assert told["ceilings"] == unimodal.folder.name
    assert told["gap"] == pytest.approx(told["fused"] - max(told["alone"].values()))


def test_ceilings_must_be_of_the_same_data_and_seed_and_have_probes(session, unimodal, folder):
    name = session.folder.name
    with pytest.raises(ConfigError) as caught:
        ceilings(session.folder, session, "test")
    assert str(caught.value) == (
        f"--unimodal-runs {name}: has no accuracy/image on the test rows; "
        "give a run of strategy=unimodal with the modalities image, text"
    )
    other = train(folder, *SMALL, "strategy=unimodal", "budget.epochs=0.1", "seed=1")
    with pytest.raises(ConfigError) as caught:
        ceilings(other.folder, session, "test")
    assert (
        str(caught.value) == f"--unimodal-runs {other.folder.name}: its seed is 1, not 0; give a run of the same seed"
    )
    fewer = train(folder, *SMALL, "strategy=unimodal", "budget.epochs=0.1", "dataset.labelled=0.5")
    with pytest.raises(ConfigError) as caught:
        ceilings(fewer.folder, session, "test")
    assert str(caught.value) == (
        f"--unimodal-runs {fewer.folder.name}: its labelled share is not that of {name}; give a run on the same data"
    )


def test_a_run_without_a_fused_head_is_refused(unimodal):
    with pytest.raises(ConfigError) as caught:
        evaluation.evaluate(unimodal)
    assert str(caught.value) == (
        f"{unimodal.folder.name}: its strategy trains probes of image, text alone, so there is no fused model to "
        "evaluate; name a run of another strategy, and give a unimodal one with --unimodal-runs"
    )


def test_changed_data_are_refused(session):
    table = replace(session.data.table, fingerprint="other")
    changed = replace(session, data=replace(session.data, table=table))
    with pytest.raises(ConfigError) as caught:
        evaluation.what_if(changed, "test", [], {"image": 0.1})
    assert str(caught.value) == (
        f"{session.folder.name}: its data set has changed since it was trained; bring that one back"
    )


def test_whether_the_model_ever_saw_a_row_that_lacks_something(session, folder, monkeypatch):
    assert not saw_missing(session)
    assert saw_missing(train(folder, *SMALL, "strategy=modality_dropout", "budget.epochs=0.1"))
    present = session.columns["text"].present.clone()
    present[session.data.rows["labelled"][3]] = False
    monkeypatch.setattr(session.columns["text"], "present", present)
    assert saw_missing(session)


def test_what_if(session):
    whole, *spoiled = evaluation.what_if(session, "val", ["text"], {"image": 0.3}, "zeros")
    assert whole["given"] == {"image": ["clean", 0.0], "text": ["clean", 0.0]}
    assert [answer["given"] for answer in spoiled] == [
        {"image": ["gaussian", 0.3], "text": ["zeros", 0.0]},
        {"image": ["occlusion", 0.3], "text": ["zeros", 0.0]},
    ]
    assert whole["metrics"]["accuracy"] == session.folder.read_metrics()["metrics"]["val"]["accuracy"]
    (_, absent) = evaluation.what_if(session, "val", ["text"], {})
    assert absent["given"] == {"image": ["clean", 0.0], "text": None}
    assert Given("clean") == ("clean", 0.0)


def test_parts_found_earlier_on_the_same_split_stay(session, found):
    file = session.folder.path / "evaluation.json"
    evaluation.keep(session.folder, found)
    part = {key: found[key] for key in ("schema", "metric_version", "split", "run")}
    evaluation.keep(session.folder, {**part, "groups": {}})
    assert list(json.loads(file.read_text())) == [*found, "groups"]
    evaluation.keep(session.folder, {**part, "split": "val"})
    assert json.loads(file.read_text()) == {**part, "split": "val"}
