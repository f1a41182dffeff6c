"""mmrun in Python: load, predict, embed, evaluate, train, compare."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from PIL import Image

import mmrun
from mmrun.errors import ConfigError, DataError
from tests.people import COLUMNS, rows, write

CELLS = [{"note": "a tall one", "height": 190, "weight": 60}, {"note": "a short one"}]


@pytest.fixture
def run(moved_run):
    return mmrun.load(moved_run)


def test_importing_mmrun_imports_nothing_heavy():
    code = "import mmrun, sys; print(mmrun.__version__, {'torch', 'hydra', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "0.2.0 set()\n"
    with pytest.raises(AttributeError):
        mmrun.nothing  # noqa: B018


def test_rows_in_memory_and_in_a_file_are_predicted_alike(run, tmp_path):
    write(tmp_path / "new.csv", ["note", "height", "weight"], list(rows())[:6])
    from_file = run.predict(tmp_path / "new.csv")
    frame = pandas.read_csv(tmp_path / "new.csv")
    from_frame, from_dicts = run.predict(frame), run.predict(frame.to_dict("records"))
    assert [row["id"] for row in from_frame] == ["0", "1", "2", "3", "4", "5"]
    for row in (*from_file, *from_frame, *from_dicts):
        row.pop("id")
    assert from_file == from_frame == from_dicts
    assert list(from_file[0]) == ["label", "label=a", "label=b", "age"]


def test_what_is_none_nan_or_absent_is_missing(run):
    first, second, third = run.predict([{"note": "x"}, {"note": "x", "height": None}, {"note": "x", "height": np.nan}])
    assert first["age"] == second["age"] == third["age"]


def test_embeddings(run):
    assert run.embed(CELLS).shape == (2, 128)


def test_explanations(run):
    why = run.explain(CELLS, target="label=a")
    assert (why.target, why.outputs, why.ids) == ("label", ["a", "b"], ["0", "1"])
    assert np.isnan(why.contributions["body"]).tolist() == [False, True]
    added = why.contributions["body"][0] + why.contributions["note"][0]
    assert added == pytest.approx(why.scores[0, 0] - why.empty_scores[0], abs=1e-5)
    assert why.saliency[0]["note"].names == ["a", "tall", "one"]
    assert list(why.saliency[1]) == ["note"]


def test_metrics_of_another_file(run, tmp_path):
    write(tmp_path / "new.csv", COLUMNS, [row for row in rows() if row[4] == "test"])
    from_file, from_frame = run.evaluate(tmp_path / "new.csv"), run.evaluate(pandas.read_csv(tmp_path / "new.csv"))
    assert from_file["tasks"] == from_frame["tasks"]
    assert from_file["tasks"]["label"]["metrics"]["accuracy"] == run.metrics["metrics"]["test"]["label.accuracy"]
    with pytest.raises(ConfigError) as raised:
        run.evaluate(CELLS)
    assert str(raised.value) == "rows: has no column label or age to compare predictions with"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [{"note": "a"}, {"notes": "a"}],
            "row 1: has notes; the run reads body, height, weight, note; did you mean 'note'?",
        ),
        ("gone.csv", "gone.csv: no such file; pass one with the columns that the run was trained on"),
        (3, "rows: int; pass the path of a file, a list of dicts, or a data frame"),
        ([1], "rows: list; pass the path of a file, a list of dicts, or a data frame"),
        ([{"note": 3}], "row 0: note: is of type int; pass a string"),
    ],
)  # fmt: skip
def test_what_is_no_row_is_refused(run, given, message):
    with pytest.raises((ConfigError, DataError)) as raised:
        run.predict(given)
    assert str(raised.value) == message


def test_no_such_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as raised:
        mmrun.load("digits-scratch")
    assert str(raised.value) == "no run 'digits-scratch' (`mmrun ls` lists them)"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs on few digits, images and words, trained from Python."""
    folder = tmp_path_factory.mktemp("trained")
    common = ["modalities=[image,text]", "encoder.image=lenet", "budget.epochs=0.1", f"cache={folder}/cache"]
    runs = [mmrun.train(*common, f"strategy={name}", f"outputs={folder}/outputs") for name in ("scratch", "frozen")]
    return folder, runs


def test_pictures_and_arrays_are_read_alike(trained, tmp_path):
    _, (run, _) = trained
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    Image.fromarray(pixels).save(tmp_path / "digit.png")
    given = [
        *({"image": tmp_path / "digit.png"}, {"image": str(tmp_path / "digit.png")}, {"image": pixels}),
        *({"image": Image.open(tmp_path / "digit.png")}, {"image": pixels[None]}, {"image": pixels[..., None]}),
    ]
    vectors = run.embed(given)
    np.testing.assert_array_equal(vectors, np.broadcast_to(vectors[:1], vectors.shape))
    with pytest.raises(DataError) as raised:
        run.predict([{"text": "one"}, {"image": "gone.png"}])
    assert str(raised.value) == "row 1: image: gone.png does not exist"


def test_training_again_returns_the_finished_run(trained):
    folder, (run, _) = trained
    again = mmrun.train(
        *("modalities=[image,text]", "encoder.image=lenet", "budget.epochs=0.1", f"cache={folder}/cache"),
        *("strategy=scratch", f"outputs={folder}/outputs"),
        progress=True,
    )
    assert again.path == run.path
    assert again.config["budget"]["epochs"] == 0.1


def test_a_comparison_is_a_table_in_text_and_in_a_notebook(trained):
    folder, _ = trained
    table = mmrun.compare(folder / "outputs", by="strategy", against="scratch")
    assert [record["strategy"] for record in table.records] == ["scratch", "frozen"]
    assert repr(table).startswith("test/accuracy, higher is better")
    assert "<caption>test/accuracy, higher is better" in table._repr_html_()
    assert table._repr_html_().count("<table>") == 2
    assert table.notices


def test_numbers_and_dates_are_read_as_in_the_training_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = ["when;weight;price;label"]
    for row in range(60):
        lines.append(f"{row % 28 + 1}.{row % 12 + 1}.2024;1.0{row:02},5 kg;{row},5 €;{'ab'[row % 2]}")
    Path("rows.csv").write_text("\n".join(lines) + "\n")
    words = ["dataset=manifest", "dataset.path=rows.csv", "dataset.target=[label,price]", "budget.steps=2"]
    run = mmrun.train(*words, "trainer.batch_size=8")
    given = {"when": "3.12.2024", "weight": "1.040,5 kg"}
    [first], [second] = run.predict([given]), run.predict([given | {"weight": 1040.5}])
    assert first == second
    assert first != run.predict([given | {"weight": "1.000,5 kg"}])[0]
    evaluation = run.evaluate("rows.csv")
    assert {name: result["rows"] for name, result in evaluation["tasks"].items()} == {"label": 60, "price": 60}
    with pytest.raises(DataError) as raised:
        run.predict([given, {"weight": "heavy"}])
    assert str(raised.value) == (
        "row:1: column 'weight': 'heavy' is not a number; correct it, or set dataset.read.weight=text"
    )
