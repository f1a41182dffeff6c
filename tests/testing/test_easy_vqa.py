import csv
import json
import sys

import pytest
from PIL import Image

from mmrun.errors import DataError
from mmrun.installation import format_pip_command
from mmrun.testing import easy_vqa


@pytest.fixture
def package(tmp_path):
    """Write a tiny fake of the package's data: three training pictures with two questions each, and a test picture."""
    questions: dict[str, list[list[object]]] = {"train": [], "test": [["is it blue?", "no", 0]]}
    for picture in (0, 1, 2):
        questions["train"] += [["is it red?", "yes", picture], ["what shape?", "circle", picture]]
    for part, rows in questions.items():
        (tmp_path / "data" / part / "images").mkdir(parents=True)
        (tmp_path / "data" / part / "questions.json").write_text(json.dumps(rows))
        for picture in {row[2] for row in rows}:
            Image.new("RGB", (64, 64), "red").save(tmp_path / "data" / part / "images" / f"{picture}.png")
    return tmp_path / "data"


def test_every_tenth_training_picture_is_for_validation(package, tmp_path):
    manifest = easy_vqa.write_easy_vqa(package, tmp_path / "out")
    with open(manifest, newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[:4] == [
        ["id", "image", "question", "answer", "split", "picture"],
        ["train-0", "images/train/0.png", "is it red?", "yes", "val", "train-0"],
        ["train-1", "images/train/0.png", "what shape?", "circle", "val", "train-0"],
        ["train-2", "images/train/1.png", "is it red?", "yes", "train", "train-1"],
    ]
    assert rows[-1] == ["test-0", "images/test/0.png", "is it blue?", "no", "test", "test-0"]
    assert [row[4] for row in rows[1:]] == ["val", "val", "train", "train", "train", "train", "test"]
    assert (tmp_path / "out" / "images" / "test" / "0.png").is_file()


def test_a_share_of_the_questions_is_the_same_each_time(package, tmp_path):
    manifest = easy_vqa.write_easy_vqa(package, tmp_path / "out", share=0.5)
    lines = manifest.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["id", "train-2", "train-3", "train-5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[["is it red?", "yes", 7]]', "question 0 is about picture 7, which images does not hold"),
        ('{"questions": 1}', "is not a list of [question, answer, picture]"),
        ("[[", "is not a list of [question, answer, picture]"),
    ],
)
def test_damaged_questions_leave_no_manifest(package, tmp_path, content, message):
    (package / "test" / "questions.json").write_text(content)
    with pytest.raises(DataError) as caught:
        easy_vqa.write_easy_vqa(package, tmp_path / "out")
    assert message in str(caught.value)
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_without_the_package_the_command_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setattr(easy_vqa, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["easy_vqa", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        easy_vqa.main()
    command = format_pip_command("install", "--no-deps", "easy-vqa")
    assert stopped.value.code == f"easy_vqa: easy-vqa is not installed: {command}"


def test_the_data_set_of_the_experiment_opens_it(package, tmp_path, monkeypatch):
    from mmrun.compose import load
    from mmrun.config import LABELS
    from mmrun.instantiate import instantiate

    monkeypatch.setenv("MMRUN_EASY_VQA", str(tmp_path / "out"))
    easy_vqa.write_easy_vqa(package, tmp_path / "out")
    table = instantiate(load(["experiment=easy_vqa"]).dataset, "dataset", drop=LABELS)
    assert {name: column.kind for name, column in table.columns.items()} == {"image": "image", "text": "text"}
    assert table.targets["answer"].names == ["circle", "no", "yes"]
    assert list(table.groups[:3]) == ["train-0", "train-0", "train-1"]
