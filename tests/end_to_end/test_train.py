import json

import pytest
from safetensors.torch import load_file

from mmrun import compose
from tests.end_to_end.conftest import metrics, weights

pytestmark = pytest.mark.usefixtures("few_digits")

STAGES = {
    "scratch": ["train"],
    "frozen": ["train"],
    "unimodal": ["train-image", "train-text"],
    "component": ["pretrain-image", "pretrain-text", "finetune"],
    "holistic": ["pretrain", "finetune"],
}


def test_every_strategy_is_here():
    assert set(STAGES) <= set(compose.list_options("strategy"))


@pytest.mark.parametrize("strategy", [name for name in compose.list_options("strategy") if name != "prompt_tuning"])
def test_every_strategy_trains_and_writes_its_run_folder(train_once, strategy):
    folder = train_once(strategy)
    told = metrics(folder)
    stages = told["cost"]["stages"]
    assert list(stages) == STAGES.get(strategy, list(stages))
    assert 0.0 <= told["metrics"]["test"]["accuracy"] <= 1.0
    assert told["cost"]["epochs"] == pytest.approx(0.2, abs=0.1)
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "overrides.yaml", "environment.json", "status.json", "log.jsonl", "metrics.json", "data.npz",
        "predictions", "checkpoints", "fitted.json",
    }  # fmt: skip
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    trained = [name for name, stage in stages.items() if not stage["reused"]]
    assert list(dict.fromkeys(event["stage"] for event in events)) == trained


def test_two_strategies_under_one_budget_spend_the_same(shell):
    spent = [metrics(shell.train(f"strategy={name}", "budget.epochs=1"))["cost"]["epochs"] for name in STAGES]
    assert spent == pytest.approx([1.0] * len(STAGES), abs=0.05)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(shell):
    first, rerun, other = (
        shell.train(f"outputs={name}", f"seed={seed}") for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    )
    assert weights(first) == weights(rerun)
    assert metrics(first)["metrics"] == metrics(rerun)["metrics"]
    assert weights(first) != weights(other)


def test_strategies_with_one_seed_share_their_first_weights(shell):
    """Frozen encoders keep them: bit-identical to those that `component` starts its own pre-training from."""
    frozen = load_file(shell.train("strategy=frozen") / "checkpoints/train/last/model.safetensors")
    component = load_file(
        shell.train("strategy=component", "fusion=gated") / "checkpoints/pretrain-image/last/model.safetensors"
    )
    text = [name for name in frozen if name.startswith("encoder.text")]
    assert len(text) > 2
    assert all(frozen[name].equal(component[name]) for name in text)


def test_a_finished_run_is_found_and_not_repeated(shell):
    folder = shell.train()
    stamp = (folder / "metrics.json").stat().st_mtime_ns
    assert shell.train() == folder
    assert (folder / "metrics.json").stat().st_mtime_ns == stamp
    assert shell.train("--rerun") == folder
    assert (folder / "metrics.json").stat().st_mtime_ns != stamp


def test_what_cannot_change_a_result_does_not_change_the_run(shell):
    assert shell.train().name == shell.train("trainer.save_every=0", "outputs=elsewhere").name
    assert shell.train().name != shell.train("trainer.batch_size=32").name


@pytest.mark.parametrize("budget", ["steps=3", "samples=200", "flops=5e9", "seconds=0.5"])
def test_budgets_of_every_unit(shell, budget):
    unit, amount = budget.split("=")
    cost = metrics(shell.train("budget.epochs=null", f"budget.{budget}"))["cost"]
    assert cost[unit] == pytest.approx(float(amount), rel=0.5)


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.precision=bf16", "trainer.device=cpu", "optimizer=sgd", "cache_limit=1e-6"],
        [
            *("strategy.stages.train.grad_accum_steps=2", "strategy.stages.train.max_grad_norm=0.5"),
            *("strategy.stages.train.schedule=linear", "strategy.stages.train.warmup=0.2"),
            *("strategy.stages.train.lr_scale={encoder: 0.1}", "strategy.stages.train.lr=3e-4"),
            *("strategy.stages.train.optimizer=adam", "encoder/image=cnn", "fusion=low_rank"),
        ],
        ["strategy.stages.train.keep=last", "strategy.stages.train.monitor=f1_macro"],
        ["strategy.stages.train.monitor=loss", "trainer.evaluate_every=0.05", "strategy.stages.train.patience=1"],
        ["strategy.stages.train.objective=probe", "strategy.stages.train.train=[encoder,probe]"],
        ["strategy=component", "strategy.stages.pretrain.rows=unlabelled", "dataset.labelled=0.5"],
        ["~strategy.stages.pretrain", "strategy=component"],
    ],
    ids=lambda words: words[0],
)
def test_every_option_runs(shell, words):
    assert 0.0 <= metrics(shell.train(*words))["metrics"]["val"]["accuracy"] <= 1.0


def test_tensorboard_gets_the_figures(shell):
    folder = shell.train("callbacks=[tensorboard,early_stopping]")
    assert list(folder.rglob("events.out.tfevents.*"))


def test_early_stopping_leaves_budget_unspent(shell):
    words = ["strategy.stages.train.patience=1", "trainer.evaluate_every=0.02", "strategy.stages.train.lr=1e-30"]
    assert metrics(shell.train(*words, "budget.epochs=2"))["cost"]["epochs"] < 0.2


def test_unimodal_names_the_probe_that_validation_prefers(train_once):
    told = metrics(train_once("unimodal"))
    best = max(("image", "text"), key=lambda name: told["metrics"]["val"][f"accuracy/{name}"])
    assert told["primary_head"] == f"probe.{best}"
    assert told["metrics"]["test"]["accuracy"] == told["metrics"]["test"][f"accuracy/{best}"]


def test_how_modalities_share_in_learning_is_logged_and_changes_nothing(shell):
    plain, watched = shell.train("outputs=a"), shell.train("outputs=b", "trainer.log_modality_gradients=true")
    event = json.loads((watched / "log.jsonl").read_text().splitlines()[-1])
    assert event["gradient/image"] + event["gradient/text"] == pytest.approx(1.0)
    assert -1.0 <= event["conflict/image-text"] <= 1.0
    assert plain.name == watched.name
    assert weights(plain) == weights(watched)


def test_a_text_model_from_a_folder_with_its_own_tokenizer(shell):
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "zero", "one", "two", "three"]
    own = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    fast = PreTrainedTokenizerFast(tokenizer_object=own, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")
    fast.save_pretrained("tiny")
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
    )
    BertModel(config).save_pretrained("tiny")
    told = metrics(shell.train("encoder.text=hf", "encoder.text.model=tiny", "strategy=component"))
    assert told["choices"]["encoder.text"] == "hf"
    assert told["cost"]["stages"]["pretrain-text"]["trainable_parameters"] > 0
