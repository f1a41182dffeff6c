"""Runs of one process share the data that they open, until another data set or a changed file comes."""

import pytest

from mmrun import compose
from mmrun.results.folder import RunFolder
from mmrun.run import data, last_data, opening, pipeline
from mmrun.run.accelerator import build_accelerator
from mmrun.run.last_data import LastData
from mmrun.run.opening import open_session
from mmrun.training.callback import NullCallback

TINY = ["fusion.dim=4", "budget.steps=2", "trainer.batch_size=8", "trainer.progress=false"]


@pytest.fixture
def opened(monkeypatch):
    """Collect the configs whose data are opened."""
    configs = []
    monkeypatch.setattr(opening, "open_data", lambda config: configs.append(config) or data.open_data(config))
    return configs


@pytest.fixture
def train(tmp_path):
    """Train tiny runs on a file, in one process."""
    shared = LastData()

    def train_run(file, *overrides, last_data=shared):
        words = [f"dataset={file}", *TINY, f"outputs={tmp_path}/outputs", f"cache={tmp_path}/cache", *overrides]
        return pipeline.run(compose.load(words), NullCallback(), last_data=last_data)

    return train_run


def write_table(file, sign=1):
    rows = [f"{sign * number},{'no' if number % 2 else 'yes'}" for number in range(60)]
    file.write_text("\n".join(["x,label", *rows]))
    return file


def test_runs_of_one_data_set_open_it_once(train, opened, tmp_path):
    file = write_table(tmp_path / "a.csv")
    train(file)
    train(file, "seed=1")
    train(file, "optimizer.lr=0.1", "fusion.dim=8")
    assert len(opened) == 1
    train(file, "dataset.labelled=0.5")
    train(file, "encoder.tabular.preprocess.scale=quantile")
    assert len(opened) == 3


def test_a_run_on_shared_data_is_that_of_a_process_of_its_own(train, tmp_path):
    file = write_table(tmp_path / "a.csv")
    train(file, "seed=1", "dataset.labelled=0.5")
    shared = train(file, "seed=2", "dataset.labelled=0.5")
    alone = train(file, "seed=2", "dataset.labelled=0.5", f"outputs={tmp_path}/alone", last_data=None)
    assert shared.read_metrics()["metrics"] == alone.read_metrics()["metrics"]
    assert shared.data_file.read_bytes() == alone.data_file.read_bytes()


def test_a_changed_file_is_opened_again(train, opened, tmp_path):
    file = write_table(tmp_path / "a.csv")
    first = train(file)
    write_table(file, sign=-1)
    second = train(file, "seed=1")
    assert len(opened) == 2
    fingerprints = [folder.read_metrics()["dataset"]["fingerprint"] for folder in (first, second)]
    assert fingerprints[0] != fingerprints[1]


def test_a_changed_file_that_a_cell_names_is_opened_again(train, opened, tmp_path):
    file = tmp_path / "a.csv"
    for number in range(60):
        (tmp_path / f"{number}.txt").write_text(f"a text with the number {number}")
    file.write_text("\n".join(["text,label", *(f"{number}.txt,{number % 2}" for number in range(60))]))
    train(file, "encoder.text=bow")
    (tmp_path / "7.txt").write_text("another text")
    train(file, "encoder.text=bow", "seed=1")
    assert len(opened) == 2


def test_data_whose_changes_would_not_be_noticed_are_opened_each_time(train, opened, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    write_table(folder / "a.csv")
    train(folder)
    train(folder, "seed=1")
    assert len(opened) == 2
    monkeypatch.setattr(last_data, "MAX_STAMPS", -1)
    train(write_table(tmp_path / "b.csv"))
    train(tmp_path / "b.csv", "seed=1")
    assert len(opened) == 4


def test_warnings_of_a_run_are_not_those_of_the_next(tmp_path):
    shared, sessions = LastData(), []
    for seed in (0, 1):
        config = compose.load(["dataset=synthetic", "dataset.num_rows=60", f"seed={seed}", f"cache={tmp_path}/cache"])
        folder, accelerator = RunFolder(tmp_path / str(seed)), build_accelerator(config)
        sessions.append(open_session(config, folder, NullCallback(), accelerator, last_data=shared))
        sessions[0].data.warn(["the first run has weights of another"])
    assert [session.data.warnings for session in sessions] == [["the first run has weights of another"], []]
    assert sessions[0].columns is sessions[1].columns
