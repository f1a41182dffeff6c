"""mmrun plan."""

import json

import pytest

from mmrun.run import estimate
from tests.end_to_end.conftest import SMALL, metrics


@pytest.fixture(autouse=True)
def short_timing(monkeypatch):
    monkeypatch.setattr(estimate, "TIMED_SECONDS", 0.02)


def plan(shell, *words):
    code, out, err = shell("plan", *SMALL, *words, "--format", "json")
    assert code == 0, err
    return json.loads(out)


def test_sweep_is_estimated_and_nothing_is_stored(shell):
    planned = plan(shell, "-m", "strategy=component", "fusion=concat,sum", "seed=0,1")
    assert (planned["asked"], planned["finished"]) == (4, 0)
    assert [group["label"] for group in planned["alike"]] == ["fusion=concat", "fusion=sum"]
    assert planned["stages"] == {"asked": 12.0, "different": 8}  # each seed pre-trains two encoders for both fusions
    stage = planned["alike"][0]["estimate"]["stages"][0]
    assert (stage["name"], stage["steps"], stage["evaluations"]) == ("pretrain-image", 2, 1)
    assert stage["seconds"] == pytest.approx(2 * stage["step"] + stage["evaluation"])
    each = [[s["seconds"] for s in group["estimate"]["stages"]] for group in planned["alike"]]
    around = [group["estimate"]["around"] for group in planned["alike"]]
    assert planned["seconds"] == pytest.approx(2 * (sum(each[0]) + each[1][2] + sum(around)))
    assert {column["modality"]: column["kept"] for column in planned["columns"]} == {
        "image": "memory",
        "text": "memory",
    }
    assert list(shell.folder.iterdir()) == []


def test_size_of_checkpoints_is_estimated(shell):
    planned = plan(shell)
    folder = shell.train()
    stored = sum(file.stat().st_size for file in folder.glob("checkpoints/*/*/model.safetensors"))
    assert planned["bytes"]["checkpoints"] == pytest.approx(stored, rel=0.02)  # files also hold names and shapes
    again = plan(shell)
    assert (again["asked"], again["finished"], again["seconds"]) == (1, 1, 0.0)


def test_features_of_frozen_encoders_are_estimated(shell):
    words = ["strategy=frozen", "budget.epochs=2"]
    [stage] = plan(shell, *words)["alike"][0]["estimate"]["stages"]
    cost = metrics(shell.train(*words))["cost"]
    assert cost["stages"]["train"]["features"]["modalities"] == ["image", "text"]
    assert stage["flops"] == pytest.approx(cost["flops"])
    assert stage["features"] > 0
    assert stage["seconds"] == pytest.approx(
        stage["features"] + stage["steps"] * stage["step"] + stage["evaluations"] * stage["evaluation"]
    )
    [without] = plan(shell, *words, "trainer.cache_features=false")["alike"][0]["estimate"]["stages"]
    assert without["features"] == 0
    assert without["flops"] > stage["flops"]


def test_search_is_estimated_from_its_corners(shell):
    ranges = ["optimizer.lr=interval(1e-4,1e-2)", "strategy=scratch,frozen"]
    planned = plan(shell, "-m", "sweep=tpe", "sweep.trials=6", *ranges)
    assert planned["asked"] == 12
    assert [group["runs"] for group in planned["alike"]] == [3.0] * 4
    code, out, _ = shell("plan", *SMALL)
    assert code == 0
    assert out.splitlines()[0].split()[:5] == ["run", "stage", "runs", "features", "steps"]
    assert "\n1 run: about " in out
