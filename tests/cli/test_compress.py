"""mmrun compress: a smaller run beside a finished one, which every other verb reads like any run."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from mmrun.deploy.compress.student import name_student
from mmrun.results.folder import RunFolder
from tests.end_to_end.conftest import few_digits as few_digits
from tests.end_to_end.conftest import folder_of_few_digits as folder_of_few_digits
from tests.people import rows, write

TRAINED = ["strategy=scratch", "encoder.text=transformer"]


@pytest.fixture
def trained(shell, few_digits):
    return shell.train(*TRAINED)


def compress(shell, run, *words):
    code, out, err = shell("compress", run, *words, "--format", "json")
    assert code == 0, err
    answer = json.loads(out)
    return RunFolder(answer["run"]), answer["inference"]


def final_weights(folder):
    return load_file(folder.checkpoint_path("train", "best") / "model.safetensors")


def read_predictions(shell, run):
    code, out, err = shell("predict", run, "digits/rows.csv")
    assert code == 0, err
    return out


def test_weights_that_share_values_take_a_fraction_of_the_file(shell, trained):
    folder, inference = compress(shell, trained, "--cluster", "16")
    assert folder.name == f"{trained.name}-cluster16"
    assert inference["compressed"]["file_size"] < 0.3 * inference["original"]["file_size"]
    assert inference["compressed"]["parameters"] == inference["original"]["parameters"]
    assert set(folder.read_metrics()["metrics"]) == {"val", "test"}
    assert folder.read_metrics()["choices"]["compress"] == "cluster=16"


def test_the_new_run_does_not_need_the_old_one_and_every_verb_reads_it(shell, trained):
    folder, inference = compress(shell, trained, "--drop-layers", "0.5", "--low-rank", "0.5", "--prune-heads", "0.5")
    assert inference["compressed"]["parameters"] < 0.7 * inference["original"]["parameters"]
    shutil.rmtree(trained)
    expected = read_predictions(shell, folder.path)
    code, out, _ = shell("show", folder.path)
    assert code == 0
    assert f"from {trained.name}: drop_layers=0.5 low_rank=0.5 prune_heads=0.5" in out
    assert "drop_layers=0.5+low_rank=0.5+prune_heads=0.5" in out
    assert shell("pack", folder.path, "-o", "run.zip")[0] == 0
    assert shell("unpack", "run.zip", "-o", "elsewhere")[0] == 0
    assert read_predictions(shell, f"elsewhere/{folder.name}") == expected
    assert shell("eval", folder.path)[0] == 0
    code, out, err = shell("ls")
    assert (code, folder.name in out) == (0, True), err


def test_what_was_compressed_is_compressed_again(shell, trained):
    once, _ = compress(shell, trained, "--low-rank", "0.5")
    twice, inference = compress(shell, once.path, "--drop-layers", "0.5", "--cluster", "8")
    record = twice.read_compression()
    assert [step["method"] for step in record["steps"]] == ["low_rank", "drop_layers", "cluster"]
    assert twice.read_metrics()["choices"]["compress"] == "low_rank=0.5+drop_layers=0.5+cluster=8"
    assert inference["compressed"]["parameters"] < inference["original"]["parameters"]


def test_zeros_stay_zero_and_shared_weights_shared_while_they_are_fine_tuned(shell, trained):
    folder, inference = compress(
        shell, trained, "--prune", "0.6", "--cluster", "16", "--finetune-epochs", "0.2", "-o", "tuned"
    )
    assert inference["compressed"]["nonzero_parameters"] < 0.6 * inference["original"]["parameters"]
    before, _ = compress(shell, trained, "--prune", "0.6", "--cluster", "16")
    name = "encoder.text.blocks.layers.0.linear1.weight"
    tuned, untuned = final_weights(folder), final_weights(before)
    assert tuned[f"{name}/codebook"].numel() == untuned[f"{name}/codebook"].numel() == 16
    assert (tuned[f"{name}/codebook"] == 0).sum() == 1
    assert not tuned[f"{name}/codebook"].equal(untuned[f"{name}/codebook"])
    costs = folder.read_metrics()["cost"]
    assert costs["epochs"] == pytest.approx(0.4, abs=0.1)


def test_filters_go_from_the_whole_model(shell, trained):
    pytest.importorskip("torch_pruning")
    folder, inference = compress(shell, trained, "--prune-filters", "0.5", "--importance", "taylor")
    assert inference["compressed"]["parameters"] < 0.8 * inference["original"]["parameters"]
    convolution = final_weights(folder)["encoder.image.blocks.0.0.weight"]
    assert convolution.shape == torch.Size([3, 1, 5, 5])


def test_the_best_steps_that_reach_a_target_are_found(shell, trained, monkeypatch):
    monkeypatch.setattr("mmrun.deploy.compress.search.FILTER_SHARES", (0.0,))
    monkeypatch.setattr("mmrun.deploy.compress.search.NUM_ROUNDS", 1)
    folder, inference = compress(shell, trained, "--target", "parameters=0.6", "--max-drop", "1")
    assert inference["compressed"]["parameters"] <= 0.6 * inference["original"]["parameters"]
    assert set(folder.read_metrics()["metrics"]) == {"val", "test"}
    code, _, err = shell("compress", trained, "--target", "parameters=0.01", "--max-drop", "1")
    assert (code, "nothing reaches parameters=0.01; the smallest ratios are parameters=0." in err) == (1, True)


def test_few_of_many_combinations_are_judged(shell, trained, monkeypatch):
    monkeypatch.setattr("mmrun.deploy.compress.search.FILTER_SHARES", (0.0,))
    monkeypatch.setattr("mmrun.deploy.compress.search.MAX_JUDGED", 2)
    _, _, err = shell("compress", trained, "--target", "file=0.6", "--max-drop", "0")
    lines = [line.strip() for line in err.splitlines()]
    assert any(line.endswith("of 23 combinations of steps reach file=0.6") for line in lines)
    assert "the 2 that keep most parameters are judged, each with and without 8 bits" in lines
    assert any(line.startswith("2 of 2: ") for line in lines)
    assert not any(line.startswith("3 of ") for line in lines)


def test_a_run_in_8_bits_is_a_run(shell, trained):
    folder, inference = compress(shell, trained, "--quantize", "int8", "--max-drop", "1")
    assert folder.name == f"{trained.name}-int8"
    assert inference["compressed"]["file_size"] < 0.4 * inference["original"]["file_size"]
    costs = [RunFolder(run).read_metrics()["cost"] for run in (trained, folder.path)]
    assert costs[0]["trainable_parameters"] == costs[1]["trainable_parameters"]
    weights = final_weights(folder)
    assert weights["encoder.text.blocks.layers.0.self_attn.qkv.int8_weight"].dtype == torch.int8
    shutil.rmtree(trained)
    expected = read_predictions(shell, folder.path)
    code, out, _ = shell("show", folder.path)
    assert (code, f"from {trained.name}: int8, static, asymmetric, per channel" in out) == (0, True)
    assert shell("pack", folder.path, "-o", "run.zip")[0] == 0
    assert shell("unpack", "run.zip", "-o", "elsewhere")[0] == 0
    assert read_predictions(shell, f"elsewhere/{folder.name}") == expected
    assert shell("eval", folder.path)[0] == 0
    assert shell("explain", folder.path, "digits/rows.csv", "-o", "why.html", "--rows", "1")[0] == 0
    code, out, err = shell("compare", folder.path, "--by", "compress")
    assert (code, "predicting one row" in out) == (0, True), err
    code, _, err = shell("compress", folder.path, "--cluster", "4")
    assert (code, "computes in 8 bits, which comes last" in err) == (2, True)


def test_8_bits_come_after_other_steps(shell, trained):
    words = ("--quantize", "int8", "--quantize-mode", "dynamic", "--prune-heads", "0.5", "--finetune-epochs", "0.1")
    folder, _ = compress(shell, trained, *words, "--max-drop", "1")
    assert folder.read_metrics()["choices"]["compress"] == "prune_heads=0.5+finetune=0.1+int8-dynamic"
    assert set(folder.read_compression()["structure"]["heads"].values()) == {2}


def test_a_run_that_predicts_worse_in_8_bits_is_refused(shell, trained, monkeypatch):
    monkeypatch.setattr("mmrun.deploy.compress.quality.Quality.measure_drop", lambda *_: 0.5)
    code, _, err = shell("compress", trained, "--quantize", "int8")
    assert (code, "val/accuracy drops by 0.5000 in 8 bits (from " in err) == (1, True)
    assert err.endswith("more than --max-drop 0.01; nothing is written\n")
    assert not trained.with_name(f"{trained.name}-int8").exists()


def test_a_student_learns_from_the_run(shell, trained):
    words = ("--student", "encoder.text=gru", "encoder.image.channels=[3,6,12,24]")
    folder, inference = compress(shell, trained, *words)
    assert folder.name == f"{trained.name}-student"
    assert inference["compressed"]["parameters"] < 0.6 * inference["original"]["parameters"]
    choice = "student:encoder.text=gru,encoder.image.channels=[3,6,12,24]"
    assert folder.read_metrics()["choices"]["compress"] == choice
    assert folder.read_compression()["run"] == trained.name
    shutil.rmtree(trained)
    read_predictions(shell, folder.path)
    assert "student with encoder.text=gru" in shell("show", folder.path)[1]
    small, _ = compress(shell, folder.path, "--cluster", "16")
    assert small.read_metrics()["choices"]["compress"] == f"{choice}+cluster=16"


def test_a_student_of_many_overrides_has_a_short_name_of_its_own():
    long = ["encoder.text=gru", "encoder.image=lenet", "fusion=gated", "budget.epochs=5"]
    assert name_student(["encoder.text=gru"]) == "student:encoder.text=gru"
    assert name_student(long).startswith("student:encoder.text=gru,encoder.image=lenet,fusion=gated,b...")
    assert len(name_student(long)) == 68
    assert name_student(long) != name_student([*long[:3], "budget.epochs=6"])


def test_a_student_that_cannot_be_built_leaves_no_folder(shell, trained):
    code, _, err = shell("compress", trained, "--student", "encoder.text=nothing", "-o", "student")
    assert (code, "nothing" in err) == (2, True)
    code, _, err = shell("compress", trained, "--student", "encoder.image.preprocess.size=14", "-o", "student")
    err = err.replace("\n  ", " ")
    assert (code, "preprocesses image differently; add encoder.image.preprocess.size=" in err) == (2, True)
    assert not (trained.parent / "student").exists()
    assert not RunFolder("student").path.exists()


def test_compare_keeps_compressed_runs_apart(shell, trained):
    folder, _ = compress(shell, trained, "--cluster", "4")
    code, out, err = shell("compare")
    assert code == 0
    assert "compressed runs form groups of their own: --by compress" in err
    cells = [line.split()[:3] for line in out.splitlines() if line.startswith("scratch")]
    assert cells[:2] == [["scratch", "cluster=4", "1"], ["scratch", "none", "1"]]
    assert "predicting one row" in out
    assert f"compressed and left out: 1 run ({folder.name})" in shell("report", "-o", "report.html")[2]


def test_a_run_without_its_data_is_compressed_without_metrics(shell, moved_run):
    code, out, err = shell("compress", moved_run, "--cluster", "8", "-o", "small")
    assert code == 0, err
    assert "so it is compressed without metrics" in err
    assert RunFolder("small").read_metrics()["metrics"] == {}
    write("new.csv", ["note", "weight", "height", "name"], list(rows())[:10])
    code, out, err = shell("predict", "small", "new.csv")
    assert (code, len(out.splitlines())) == (0, 11), err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prune", "1.5"], "argument --prune: 1.5 is not a number above 0 and below 1"),
        (["--prun", "0.5"], "unrecognized arguments: --prun 0.5"),
        (["--cluster", "1"], "argument --cluster: 1 is not a whole number from 2 to 256"),
        ([], "name either steps (--prune, --prune-per-layer, --prune-filters"),
        (["--cluster", "4", "--target", "latency=0.5"], "name either steps"),
        (["--quantize", "int4"], "argument --quantize: invalid choice: 'int4' (choose from"),
        (["--quantize-mode", "static", "--cluster", "4"], "--quantize-mode: belongs to --quantize int8"),
        (["--quantize", "int8"], "--quantize int8: needs training rows, which are not there; add --rows FILE"),
        (["--quantize", "int8", "--finetune-epochs", "1"], "--finetune-epochs: nothing is trained before --quantize"),
        (["--quantize", "int8", "--target", "file=0.5"], "name either steps"),
        (["--student", "encoder.note=gru"], "--student: needs the training rows, which are not there"),
        (["--student", "a=b", "--finetune-epochs", "1"], "--student: is trained for the budget of RUN"),
        (["--target", "latncy=0.5"], "--target: no target 'latncy'; did you mean 'latency'?"),
        (["--target", "latency=2"], "--target latency=2: write latency=RATIO, a number above 0 and below 1"),
        (["--cluster", "4", "--finetune-epochs", "1"], "--finetune-epochs: needs the training rows"),
        (["--target", "file=0.5"], "--target: needs the validation rows"),
        (["--drop-layers", "0.5"], "drop_layers=0.5: changes nothing, as only residual and transformer blocks"),
        (["--prune-heads", "0.5", "--importance", "taylor"], "--importance taylor: needs the training rows"),
    ],
)
def test_what_cannot_be_done_is_one_line(shell, moved_run, words, message):
    code, _, err = shell("compress", moved_run, *words)
    assert code == 2
    assert message in err.replace("\n  ", " ")


def test_an_existing_run_stays_and_verify_names_its_original(shell, moved_run):
    assert shell("compress", moved_run, "--cluster", "8", "-o", "small")[0] == 0
    code, _, err = shell("verify", "small")
    assert (code, err) == (2, "mmrun: small: was compressed from moved; verify that run, and repeat mmrun compress\n")
    code, _, err = shell("compress", moved_run, "--cluster", "4", "-o", "small")
    assert code == 2
    assert "mmrun: small: exists; remove it with mmrun rm small, or choose another name with -o" in err


def test_a_hostile_structure_is_one_line(shell, moved_run):
    assert shell("compress", moved_run, "--low-rank", "0.5", "-o", "small")[0] == 0
    file = RunFolder("small").compression_file
    record = json.loads(file.read_text())
    del record["digest"]
    record["structure"]["sizes"] = {"fusion": [1, 10**12]}
    file.write_text(json.dumps(record))
    code, _, err = shell("predict", "small", "new.csv")
    assert code == 1
    assert "compression.json: damaged, fusion: cannot have 1 -> 1000000000000 channels" in err.replace("\n  ", " ")
