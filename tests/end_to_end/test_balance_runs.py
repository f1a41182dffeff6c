"""Balance, chosen on the shell."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from mmrun import compose
from tests.end_to_end.conftest import FEW, metrics, weights
from tests.end_to_end.test_processes import torchrun

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.mark.parametrize("name", [name for name in compose.list_options("balance") if name != "none"])
def test_every_balance_trains_on_any_strategy(shell, train_once, name):
    words = ["budget.epochs=0.5", *(["fusion=mla"] if name == "mla" else [])]
    plain = train_once("component", *words)
    folder = shell.train("strategy=component", *words, f"balance={name}", f"cache={train_once.cache}")
    told = metrics(folder)
    assert told["choices"]["balance"] == name
    assert told["cost"]["stages"]["pretrain-image"]["reused"]  # the stages before know nothing of it
    first, second = (load_file(run / "checkpoints/finetune/last/model.safetensors") for run in (plain, folder))
    assert first.keys() == second.keys()  # nothing of it stays in the model
    assert any(not first[key].equal(second[key]) for key in first if key.startswith("encoder"))


@pytest.mark.parametrize("name", ["agm", "gradient_blending", "reconboost"])
def test_the_same_bits_again_and_half_precision_and_micro_batches(shell, name):
    words = [f"balance={name}", "strategy.stages.train.grad_accum_steps=2", "trainer.precision=bf16"]
    first, again = shell.train(*words, "outputs=a"), shell.train(*words, "outputs=b")
    assert weights(first) == weights(again)
    assert shell("verify", first)[0] == 0


def test_a_stage_is_reused_only_under_the_same_balance(shell):
    words = ["strategy.stages.train.reuse=true", "balance=agm"]
    first = metrics(shell.train(*words, "outputs=a"))["cost"]["stages"]["train"]
    again = metrics(shell.train(*words, "outputs=b"))["cost"]["stages"]["train"]
    other = metrics(shell.train(*words, "balance.alpha=0.5"))["cost"]["stages"]["train"]
    assert [stage["reused"] for stage in (first, again, other)] == [False, True, False]


def test_every_pass_backward_is_counted(shell):
    plain, twice = (metrics(shell.train(*words))["cost"] for words in ([], ["balance=mmpareto"]))
    assert 1.5 < (twice["flops"] / twice["steps"]) / (plain["flops"] / plain["steps"]) < 1.8  # 1 + 2 + 2, once 1 + 2


@pytest.mark.parametrize("strategy", ["unimodal", "frozen"])
def test_where_nothing_can_be_balanced_it_is_said(shell, strategy):
    told = "mmrun: balance: no stage of this strategy trains several encoders with a head; drop balance\n"
    assert shell("train", *FEW, f"strategy={strategy}", "balance=pcgrad")[::2] == (2, told)


def test_an_unknown_one_is_answered_with_what_there_is(shell):
    code, _, err = shell("train", *FEW, "balance=pcgrd")
    assert code == 2
    assert "did you mean 'pcgrad'?" in err


@pytest.mark.parametrize(
    ("name", "port"), [("pcgrad", 29573), ("ogm_ge", 29574), ("mla", 29575), ("reconboost", 29576)]
)
def test_two_processes_balance_as_one_does(shell, fork_server, tmp_path, name, port):
    """Without batch statistics and random masks, weights agree to rounding: gradients are averaged, scores shared."""
    words = ["dataset=synthetic", "encoder.a.dropout=0", "encoder.b.dropout=0", "encoder.a.cell_dropout=0"]
    words += ["encoder.b.cell_dropout=0", f"balance={name}", "trainer.device=cpu"]
    words += ["budget.steps=6", *{"ogm_ge": ["balance.noise=false"], "mla": ["fusion=mla"]}.get(name, [])]
    assert shell("train", *words, "outputs=one")[0] == 0
    done = fork_server.run(*torchrun(port), "train", *words, "outputs=two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    left, right = (
        load_file(next(Path(run).glob("*/*")) / "checkpoints/train/last/model.safetensors") for run in ("one", "two")
    )
    assert all(left[key].allclose(right[key], atol=1e-4) for key in left)


def test_none_is_a_run_without(shell):
    assert shell.train("balance=none") == shell.train()
    code, _, err = shell("train", "balance=null")
    assert (code, err.split(" (")[0]) == (2, "mmrun: balance: no option 'null'; did you mean 'none'?")
