"""mmrun show."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from mmrun.cli import main
from tests.results.fabricate import detail, finished, metrics, started


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def test_finished_run(outputs, capsys):
    run = finished(outputs, 0.875, "component")
    assert main(["show", run.name]) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if not line.startswith("─")]
    assert lines == [
        f"run {run.name}",
        "status finished",
        "overrides strategy=component seed=0",
        "budget budget.epochs=10, seed=0",
        f"folder outputs/default/{run.name}: config.yaml environment.json metrics.json",
        "",
        "choice option",
        "dataset digits",
        "encoder.image cnn",
        "fusion concat",
        "strategy component",
        "",
        "metric val test",
        "accuracy 0.8750 0.8750",
        "accuracy/image - 0.4375",
        "loss 0.5000 0.1250",
        "",
        "label (test) precision recall f1 count",
        "zero 1.0000 0.5000 0.6667 18",
        "",
        "stage objective epochs steps samples time FLOPs memory trainable total",
        "train Task 10 230 14.4k 10.0 s 1.5T 512 MiB 25.3k 25.3k",
        "all 10 230 14.4k 10.0 s 1.5T 512 MiB 25.3k 25.3k",
    ]


def test_failed_run_says_why_and_where(outputs, capsys):
    run = started(outputs)
    run.status.write("running", "finetune", step=12, progress=0.4)
    run.status.write("failed", message="RunError: the loss is nan")
    assert main(["show", str(run.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "status      failed at finetune, 40% done: RunError: the loss is nan"


def test_a_run_that_went_on_elsewhere_says_so(outputs, capsys):
    run = started(outputs)
    run.add_start({"python": "3.12", "device": "A100", "time": 2.0})
    assert main(["show", run.name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[5:7] == [
        "python      changed when the run was resumed: 3.11 -> 3.12",
        "device      changed when the run was resumed: none -> A100",
    ]
    assert main(["show", run.name, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed_environment"]["python"] == ["3.11", "3.12"]


def test_json_is_complete(outputs, capsys):
    run = finished(outputs, 0.875)
    assert main(["show", run.name, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["run"] == run.name
    assert shown["status"]["status"] == "finished"
    assert shown["overrides"] == ["strategy=scratch", "seed=0"]
    assert shown["budget"] == {"epochs": 10.0}
    assert shown["metrics"] == run.read_metrics()
    assert shown["paths"]["config.yaml"] == f"outputs/default/{run.name}/config.yaml"


def test_unfinished_run_has_no_metrics_in_json(outputs, capsys):
    run = started(outputs)
    assert main(["show", run.name, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] is None


def test_misspelt_name(outputs, capsys):
    run = finished(outputs, 0.875)
    typo = run.name.replace("scratch", "scrach")
    assert main(["show", typo]) == 2
    assert capsys.readouterr().err == f"mmrun: no run '{typo}'; did you mean '{run.name}'? (`mmrun ls` lists them)\n"


def test_pretraining_run_has_cost_but_no_metrics(outputs, capsys):
    run = started(outputs)
    run.finish({**metrics(run.read_config(), run.name, 0.5), "primary_head": None, "metrics": {}, "per_class": {}})
    assert main(["show", run.name]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[13:15] == [
        "",
        "stage   objective   epochs   steps   samples     time   FLOPs    memory   trainable   total",
    ]
    assert main(["ls"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[1:3] == ["finished", "-"]


def test_learning_curves_are_drawn(outputs, capsys):
    run = detail(finished(outputs, 0.875))
    assert main(["show", run.name]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("stage   curve"))
    assert lines[start : start + 4 : 2] == [
        "stage   curve                   over the epochs    first     last",
        "train   train/loss     ⠉⠉⠒⠒⠒⠢⠤⠤⢄⣀⣀⣀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀⠀   0.5000   0.0000",
    ]


def test_objectives_have_the_names_of_their_yaml_files(outputs, capsys):
    choices = {"dataset": "digits", "strategy": "scratch", "strategy.stages.train.objective": "task"}
    run = finished(outputs, 0.875, choices=choices)
    assert main(["show", run.name]) == 0
    costs = [line.split()[:2] for line in capsys.readouterr().out.splitlines() if line.startswith("train ")]
    assert costs == [["train", "task"]]


def test_a_damaged_log_is_reported_and_the_rest_is_shown(outputs, capsys):
    run = finished(outputs, 0.875)
    run.log_file.write_text("not JSON\n")
    assert main(["show", run.name]) == 0
    out, err = capsys.readouterr()
    assert "accuracy" in out
    assert err.startswith("note: without learning curves: ")


# --------------------------------------------------------------------------------------------------------------- plots


def test_plots_are_written_as_pictures_and_listed(outputs, capsys):
    run = detail(finished(outputs, 0.875))
    assert main(["show", run.name, "--plots", "some/plots", "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["run"] == run.name
    assert shown["plots"][0] == {
        "plot": "test-label-roc",
        "caption": "label (test): ROC, dog against cat; chance is the dotted diagonal",
        "png": "some/plots/test-label-roc.png",
        "svg": "some/plots/test-label-roc.svg",
    }
    assert len(shown["plots"]) == 6
    for plot in shown["plots"]:
        picture = np.asarray(Image.open(plot["png"]).convert("RGBA"))
        assert len(np.unique(picture.reshape(-1, 4), axis=0)) > 10
        assert picture[0, 0].tolist() == [255, 255, 255, 255]  # white, not transparent
        assert ElementTree.parse(plot["svg"]).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_the_table_of_plots_names_the_files(outputs, capsys):
    run = detail(finished(outputs, 0.875))
    assert main(["show", run.name, "--plots", "plots", "--format", "md"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "| plots/learning-train-accuracy.png | stage train: accuracy while it trains |"


def test_an_unfinished_run_has_no_plots(outputs, capsys):
    run = started(outputs)
    assert main(["show", run.name, "--plots", "plots"]) == 2
    assert capsys.readouterr().err == f"mmrun: {run.name}: the run is running; only finished runs have plots\n"


def test_a_run_without_predictions_has_no_plots(outputs, capsys):
    run = finished(outputs, 0.875)
    assert main(["show", run.name, "--plots", "plots"]) == 2
    assert capsys.readouterr().err == (
        f"mmrun: outputs/default/{run.name}/predictions/test.parquet: no such file; "
        "the run stored no predictions of the test rows\n"
    )


def test_a_folder_that_cannot_be_written_is_a_one_line_error(outputs, capsys, tmp_path):
    run = detail(finished(outputs, 0.875))
    (tmp_path / "taken").write_text("")
    assert main(["show", run.name, "--plots", "taken"]) == 2
    assert capsys.readouterr().err == "mmrun: --plots taken: cannot be written (File exists)\n"
    assert main(["show", run.name, "--plots", "taken/plots"]) == 2
    assert capsys.readouterr().err == "mmrun: --plots taken/plots: cannot be written (Not a directory)\n"
