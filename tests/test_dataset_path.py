"""dataset=PATH stands for dataset=manifest dataset.path=PATH."""

import pytest

from mmrun import compose
from mmrun.dataset_path import describe_dataset_choice, format_override, read_dataset_paths
from mmrun.errors import ConfigError

CHOICES = ["digits", "manifest", "synthetic"]


@pytest.mark.parametrize(
    "path", ["my.csv", "./digits", "a/b", "~/x", "shards-{000..002}.tar", "hf://owner/name", ".", "a b.csv"]
)
def test_a_path_is_a_manifest(path):
    assert read_dataset_paths([f"dataset={path}", "seed=1"], CHOICES) == [
        "dataset=manifest",
        f"dataset.path={path}",
        "seed=1",
    ]


@pytest.mark.parametrize(
    "override", ["dataset=digits", "dataset=nosuch", "dataset.path=my.csv", "dataset=${x}", "fusion=a/b"]
)
def test_other_overrides_stay(override):
    assert read_dataset_paths([override], CHOICES) == [override]


def test_a_folder_needs_no_sign_of_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pets").mkdir()
    assert read_dataset_paths(["dataset=pets"], CHOICES)[1] == "dataset.path=pets"


def test_a_name_wins_over_a_folder_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert read_dataset_paths(["dataset=digits"], CHOICES) == ["dataset=digits"]
    assert describe_dataset_choice("digits", "outputs") == [
        "dataset=digits is mmrun's data set of this name; dataset=./digits reads the file or folder here"
    ]
    assert describe_dataset_choice("digits", "digits/first") == []
    assert describe_dataset_choice("synthetic", "outputs") == []


def test_paths_in_a_sweep():
    assert read_dataset_paths(["dataset=a.csv,b/c"], CHOICES, is_sweep=True)[1] == "dataset.path=a.csv,b/c"
    with pytest.raises(ConfigError) as error:
        read_dataset_paths(["dataset=digits,b/c"], CHOICES, is_sweep=True)
    assert str(error.value) == "dataset=digits,b/c: 'digits' is a name, 'b/c' a path; sweep over one of the two"


def test_a_path_that_is_given_twice():
    with pytest.raises(ConfigError, match=r"is a path, and dataset.path is set as well; leave one of the two out"):
        read_dataset_paths(["dataset=a.csv", "dataset.path=b.csv"], CHOICES)


def test_names_are_quoted_as_any_path(tmp_path):
    path = tmp_path / "my ' (1)=x.csv"
    path.write_text("text,label\n" + "one word,a\nother word,b\n" * 6)
    assert compose.load([f"dataset={path}"]).dataset["path"] == str(path)
    assert format_override("pets") == "dataset=./pets"
    assert format_override("a/pets") == "dataset=a/pets"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset=nosuch.csv", "dataset.path: nosuch.csv does not exist; set dataset.path=FILE"),
        (
            "dataset=digts",
            "dataset: no option 'digts'; did you mean 'digits'? "
            "(there are avdigits, digits, easy_vqa, manifest, synthetic), and no file or folder is called so",
        ),
    ],
)
def test_what_is_neither(override, message):
    with pytest.raises(Exception, match="dataset") as error:
        compose.load([override])
    assert str(error.value) == message
