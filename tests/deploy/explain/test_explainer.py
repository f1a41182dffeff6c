"""Explanations of rows add up to their scores; test_evidence.py shows that they find what carries the label."""

from dataclasses import replace

import numpy as np
import pytest

from mmrun.data.table import Column
from mmrun.deploy.explain.contributions import check_modalities
from mmrun.deploy.explain.explainer import METHODS, Explainer, is_complete
from mmrun.deploy.explain.target import parse_target
from mmrun.deploy.predictor import Rows
from mmrun.errors import ConfigError
from mmrun.head import Head
from mmrun.models.encoders.text import Bow
from mmrun.models.multimodal import Multimodal
from tests.deploy.explain.toy import explain, take, train_on


@pytest.mark.parametrize("carrier", ["note", "facts"])
def test_contributions_and_gradients_add_up(carrier):
    explanations, _ = explain(carrier, numbers=range(3))
    rows = np.arange(len(explanations.ids))
    explained_scores = explanations.scores[rows, explanations.explained]
    added = sum(explanations.contributions.values())
    np.testing.assert_allclose(added, explained_scores - explanations.empty_scores, atol=1e-5)
    for row, saliency in enumerate(explanations.saliency):
        for part in saliency.values():
            assert is_complete(part, explained_scores[row])
            change = float(explained_scores[row]) - part.baseline_score
            assert part.values.sum() == pytest.approx(change, abs=0.05 * abs(change) + 0.01)


def test_words_and_columns_are_named():
    explanations, _ = explain("note", numbers=[0])
    [saliency] = explanations.saliency
    assert saliency["note"].names[3] == "barking"
    assert [saliency["note"].text[begin:end] for begin, end in saliency["note"].spans] == saliency["note"].names
    assert saliency["facts"].names == ["age", "weight", "town"]


def test_a_modality_that_a_row_lacks_has_no_contribution():
    predictor, rows, _ = train_on("note")
    explainer = Explainer(predictor, parse_target(predictor.tasks, None))
    columns = {"note": Column("text", [rows.columns["note"].values[0], None]), "facts": Column("tabular", [None, None])}
    explanations = explainer.explain(Rows(["a", "b"], columns))
    assert np.isnan(explanations.contributions["facts"]).all()
    assert np.isnan(explanations.contributions["note"]).tolist() == [False, True]
    assert explanations.contributions["note"][0] == pytest.approx(
        explanations.scores[0, explanations.explained[0]] - explanations.empty_scores[0], abs=1e-5
    )
    assert [list(saliency) for saliency in explanations.saliency] == [["note"], []]


def test_another_class_than_the_predicted_one_is_explained():
    predicted, labels = explain("facts", numbers=[1])
    other, _ = explain("facts", numbers=[1], target="label=no")
    assert (predicted.explained.tolist(), other.explained.tolist(), labels.tolist()) == ([1], [0], [1])
    assert other.contributions["facts"][0] == pytest.approx(-predicted.contributions["facts"][0], abs=1e-5)


def test_the_run_of_a_probe_has_one_modality():
    predictor, rows, _ = train_on("note")
    predictor = replace(predictor, head=Head("note"))
    explanations = Explainer(predictor, parse_target(predictor.tasks, None)).explain(take(rows, [0, 1]))
    assert list(explanations.contributions) == ["note"]
    for row in range(2):
        score = explanations.scores[row, explanations.explained[row]]
        assert explanations.contributions["note"][row] == pytest.approx(
            score - explanations.empty_scores[row], abs=1e-5
        )
        assert list(explanations.saliency[row]) == ["note"]


@pytest.mark.parametrize("method", METHODS)
def test_a_text_without_words_has_no_attribution(method):
    predictor, _, _ = train_on("note")
    columns = {"note": Column("text", [""]), "facts": Column("tabular", [None])}
    explainer = Explainer(predictor, parse_target(predictor.tasks, None), method)
    [saliency] = explainer.explain(Rows(["a"], columns)).saliency
    assert saliency["note"].values.tolist() == []


def test_too_many_modalities_are_refused():
    with pytest.raises(ConfigError) as raised:
        check_modalities([f"photo{number}" for number in range(11)])
    assert str(raised.value) == (
        "11 modalities have 2,048 subsets; exact Shapley values are computed for at most 10 modalities"
    )


def test_no_rows_have_no_explanations():
    explanations, _ = explain("facts", numbers=[])
    assert (explanations.scores.shape, explanations.saliency) == ((0, 2), [])


def test_the_same_rows_get_the_same_explanations_one_by_one():
    together, _ = explain("note", numbers=[0, 1])
    alone, _ = explain("note", numbers=[1])
    np.testing.assert_allclose(together.contributions["note"][1], alone.contributions["note"][0], atol=1e-6)
    np.testing.assert_allclose(together.saliency[1]["note"].values, alone.saliency[0]["note"].values, atol=1e-6)


def test_occlusion_replaces_gradients_that_do_not_reach_the_input():
    predictor, rows, _ = train_on("note")
    bow = Bow(predictor.fitted.preprocessors["note"].metadata["vocab_size"], special_ids=[0, 1, 2, 3, 4], dim=16)
    encoders = {"note": bow.eval(), "facts": predictor.model.encoder["facts"]}
    model = Multimodal(encoders, predictor.model.fusion, predictor.tasks, predictor.model.head).eval()
    explainer = Explainer(replace(predictor, model=model), parse_target(predictor.tasks, None))
    explanations = explainer.explain(take(rows, [0, 1]))
    assert {part.method for part in (row["note"] for row in explanations.saliency)} == {"occlusion"}
    assert {part.method for part in (row["facts"] for row in explanations.saliency)} == {"integrated_gradients"}
    assert explanations.notes == ["note: no gradient reaches the input of its encoder (Bow); occlusion is used"]
