"""One's own files, from the manifest to metrics.json."""

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.end_to_end.conftest import metrics

ROWS = 60


@pytest.fixture
def drive(tmp_path):
    """Two cameras, a microphone, remarks and cells, some of them missing; a class and a number to predict."""
    rng = np.random.default_rng(0)
    lines = ["cam0,cam1,mic,remark,speed,road,turn,angle"]
    for row in range(ROWS):
        turn = row % 3
        for camera, kind in (("a", "png"), ("b", "jpg")):
            Image.fromarray(rng.integers(0, 60, (20, 24, 3), dtype=np.uint8) + 60 * turn).save(
                tmp_path / f"{camera}{row}.{kind}"
            )
        soundfile.write(tmp_path / f"{row}.wav", rng.normal(0, 0.1, 900), 8000)
        rear = f"b{row}.jpg" if row % 4 else ""
        lines.append(
            f"a{row}.png,{rear},{row}.wav,road {turn} ahead,{row / 7:.2f},{'wet' if row % 2 else ''},{turn},{turn / 2}"
        )
    (tmp_path / "drive.csv").write_text("\n".join(lines) + "\n")
    return ["dataset=manifest", "dataset.path=drive.csv", "trainer.batch_size=16", "budget.steps=4"]


CAMERAS = [
    "dataset.columns.front=cam0",
    "dataset.columns.rear=cam1",
    "encoder.front=lenet",
    "encoder.rear=cnn",
    "dataset.target=turn",
]


def trained(shell, *words):
    code, _, err = shell("train", *words)
    assert code == 0, err
    return metrics(next(shell.folder.glob("outputs/*/*")))


def test_two_cameras_each_with_an_encoder_of_its_own(shell, drive):
    told = trained(shell, *drive, *CAMERAS, "strategy=unimodal")
    assert told["choices"]["encoder.front"] == "lenet"
    assert told["choices"]["encoder.rear"] == "cnn"
    assert {"accuracy/front", "accuracy/rear", "accuracy"} <= set(told["metrics"]["test"])


def test_all_columns_are_taken_where_none_is_named(shell, drive):
    told = trained(shell, *drive, "dataset.target=turn", "strategy=component")
    assert told["dataset"]["rows"] == {"train": 48, "val": 6, "test": 6}


def test_several_tasks_at_once(shell, drive):
    told = trained(shell, *drive, *CAMERAS[:4], "dataset.target=[turn,angle]", "seed=1")
    assert {"turn.accuracy", "angle.r2", "angle.rmse"} <= set(told["metrics"]["test"])
    assert set(told["per_class"]["test"]) == {"turn", "angle"}


def test_one_number(shell, drive):
    told = trained(shell, *drive, "dataset.target=angle", "dataset.columns.remark=remark")
    assert set(told["metrics"]["test"]) == {"mse", "rmse", "mae", "r2"}


def test_sound_and_cells(shell, drive):
    words = ["dataset.columns.mic=mic", "dataset.columns.state=[speed,road]", "dataset.target=turn"]
    told = trained(shell, *drive, *words, "strategy=holistic")
    assert told["choices"]["encoder.mic"] == "logmel_cnn"
    assert told["choices"]["encoder.state"] == "mlp"


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (
            ["dataset.columns.front=cam9"],
            "dataset.columns.front: drive.csv has no column 'cam9'; did you mean 'cam1'? (",
        ),
        (["dataset.target=trun"], "dataset.target: drive.csv has no column 'trun'; did you mean 'turn'? ("),
        (["dataset.path=drve.csv"], "dataset.path: drve.csv does not exist; did you mean 'drive.csv'?"),
        (["encoder.fornt=cnn"], "no key 'encoder.fornt'; did you mean 'front'? ("),
    ],
)
def test_what_does_not_fit_is_said_in_a_line(shell, drive, words, answer):
    code, _, err = shell("train", *drive, *CAMERAS, *words)
    assert code == 2
    assert err.startswith(f"mmrun: {answer}"), err
    assert err.count("\n") <= 2


def test_a_broken_file_names_its_row_or_is_skipped_and_counted(shell, drive):
    (shell.folder / "a7.png").write_bytes(b"no picture")
    code, _, err = shell("train", *drive, *CAMERAS)
    assert code == 2
    assert "drive.csv:9: column 'cam0'" in err
    told = trained(shell, *drive, *CAMERAS, "dataset.on_error=skip")
    assert told["dataset"]["skipped"] == 1
    assert sum(told["dataset"]["rows"].values()) == ROWS - 1
