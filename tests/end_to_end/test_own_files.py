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


@pytest.mark.parametrize("pooling", ["pooled", "tokens"])
def test_several_pictures_in_a_cell(shell, drive, pooling):
    lines = ["views,turn", *(f"a{row}.png{f'|b{row}.jpg' if row % 4 else ''},{row % 3}" for row in range(ROWS))]
    (shell.folder / "drive.csv").write_text("\n".join(lines) + "\n")
    words = [*drive, "dataset.target=turn", f"dataset.items.views={pooling}", "augment=light", "fusion=self_attention"]
    trained(shell, *words)
    run = next(shell.folder.glob("outputs/*/*"))
    (shell.folder / "new.csv").write_text("views\na0.png|b0.jpg|a1.png\na2.png\n")
    code, _, err = shell("predict", run, "new.csv", "-o", "predicted.csv")
    assert code == 0, err
    assert len((shell.folder / "predicted.csv").read_text().splitlines()) == 3
    code, _, err = shell("eval", run, "--noise", "views=0.5")
    assert code == 0, err


def test_pretexts_refuse_several_pictures_in_a_cell(shell, drive):
    lines = ["views,turn", *(f"a{row}.png|b{row}.jpg,{row % 3}" for row in range(ROWS))]
    (shell.folder / "drive.csv").write_text("\n".join(lines) + "\n")
    code, _, err = shell("train", *drive, "dataset.target=turn", "strategy=component")
    assert code == 2
    assert err.splitlines()[-1] == (
        "mmrun: strategy.stages.pretrain.objective.by_kind: 'views' has several items in a row, and a pretext corrupts "
        "a single one; leave it out of this stage, or choose a strategy without pretexts"
    )


def test_a_run_on_single_pictures_refuses_several(shell, drive):
    trained(shell, *drive, "dataset.target=turn", "dataset.columns.view=cam0")
    run = next(shell.folder.glob("outputs/*/*"))
    (shell.folder / "new.csv").write_text("cam0\na0.png|a1.png\n")
    code, _, err = shell("predict", run, "new.csv", "-o", "predicted.csv")
    assert code == 2
    assert err == "mmrun: new.csv:2: column 'cam0': names 2 files, but the run was trained on one a row\n"
