import json

import pytest

from tests.end_to_end.conftest import metrics, weights


def test_a_look_at_some_steps_changes_nothing(shell):
    words = ["modalities=[image]", "budget.steps=12", "budget.epochs=null", "encoder.image=lenet"]
    plain = shell.train(*words)
    code, _, err = shell("train", *words, "trainer.profile=true", "outputs=seen")
    assert code == 0, err
    (seen,) = shell.folder.glob("seen/*/*")
    assert seen.name == plain.name
    assert weights(seen) == weights(plain)
    assert "traceEvents" in json.loads((seen / "profiles/train.json").read_text())
    profile, *_, evaluated = [json.loads(line) for line in (seen / "log.jsonl").read_text().splitlines()]
    assert (profile.pop("event"), profile.pop("stage")) == ("profile", "train")
    assert profile.pop("step") > 0
    assert list(profile) == ["data", "forward", "backward", "optimizer", "rest"]
    assert sum(profile.values()) == pytest.approx(1)
    assert profile["forward"] > 0.01
    assert profile["backward"] > 0.01
    assert "train: a step takes" in err
    stage = metrics(seen)["cost"]["stages"]["train"]
    assert stage["samples_per_second"] == stage["samples"] / stage["seconds"]
    assert 0 <= evaluated["speed/data_wait"] < 1


def test_a_stage_of_few_steps_has_no_profile(shell):
    folder = shell.train("budget.steps=3", "budget.epochs=null", "trainer.profile=true")
    assert not (folder / "profiles").exists()
