"""Adapters, chosen on the shell."""

import pytest
from safetensors.torch import load_file

from tests.end_to_end.conftest import FEW, metrics, weights

pytestmark = pytest.mark.usefixtures("few_digits")

TRANSFORMER = ["encoder.text=transformer", "encoder.text.dim=32"]


def final(folder):
    return load_file(folder / "checkpoints/train/last/model.safetensors")


@pytest.mark.parametrize(
    ("name", "mark", "image_learns"),
    [("lora", "lora_", False), ("adapter", "adapter_", True), ("prompt", "prompt", True), ("bitfit", "bias", False)],
)
def test_what_is_adapted_keeps_its_first_weights(shell, name, mark, image_learns):
    """Frozen encoders hold them: strategies of one seed share their first weights."""
    frozen, folder = shell.train("strategy=frozen", *TRANSFORMER), shell.train(f"strategy={name}", *TRANSFORMER)
    first = {key: value for key, value in final(frozen).items() if key.startswith("encoder.text.")}
    last = {key.replace(".base_layer", "").replace(".layer.", "."): value for key, value in final(folder).items()}
    assert first.keys() <= last.keys()
    changed = {key for key in first if not first[key].equal(last[key])}
    assert all(mark in key or (name == "adapter" and "norm" in key) for key in changed)  # bottlenecks come with norms
    moved = [
        key
        for key, value in final(frozen).items()
        if key.startswith("encoder.image.") and "running" not in key and key in last and not value.equal(last[key])
    ]
    assert any("conv" in key or "weight" in key for key in moved) is image_learns  # what cannot be adapted learns whole
    stage, whole = metrics(folder)["cost"]["stages"]["train"], metrics(frozen)["cost"]["stages"]["train"]
    text = sum(value.numel() for key, value in last.items() if key.startswith("encoder.text.") and mark in key)
    image = sum(value.numel() for key, value in last.items() if key.startswith("encoder.image.") and mark in key)
    if not image_learns:
        assert stage["trainable_parameters"] == whole["trainable_parameters"] + text + image
    assert stage["total_parameters"] - whole["total_parameters"] == (0 if name == "bitfit" else text + image)


def test_an_adapter_stands_in_any_strategy_and_the_same_bits_come_again(shell):
    words = ["strategy=component", "strategy.adapt=lora", "strategy.adapt.rank=2", *TRANSFORMER]
    first, again = shell.train(*words, "outputs=a"), shell.train(*words, "outputs=b")
    assert metrics(first)["choices"]["strategy.adapt"] == "lora"
    assert weights(first) == weights(again)
    assert shell("eval", first, "--missing", "text")[0] == 0  # a finished run opens with its adapters
    assert shell("verify", first)[0] == 0


def test_stages_are_reused_only_with_the_same_adapter(shell):
    words = ["strategy=component", "strategy.adapt=lora", *TRANSFORMER]
    shell.train(*words)
    assert metrics(shell.train(*words, "seed=0", "strategy.stages.finetune.lr=1e-4"))["cost"]["stages"][
        "pretrain-text"
    ]["reused"]
    other = metrics(shell.train(*words, "strategy.adapt.alpha=32"))["cost"]["stages"]["pretrain-text"]
    assert not other["reused"]


def test_adapters_are_balanced_too(shell):
    run = shell.train("strategy=lora", "balance=pcgrad", *TRANSFORMER)
    assert metrics(run)["cost"]["stages"]["train"]["objective"] == "Pcgrad"


def test_where_nothing_can_be_adapted_it_is_said(shell):
    told = "mmrun: strategy.adapt: this adapter fits none of the encoders image (Cnn), text (Rnn); "
    told += "choose other encoders or another adapter\n"
    assert shell("train", *FEW, "strategy=prompt")[::2] == (2, told)


def test_the_keys_of_an_adapter_are_known(shell):
    code, _, err = shell("train", *FEW, "strategy=lora", "strategy.adapt.rnk=2")
    assert code == 2
    assert "did you mean 'rank'?" in err
    code, _, err = shell("train", *FEW, "strategy.adapt=lor")
    assert (code, err) == (
        2,
        "mmrun: strategy.adapt: no option 'lor' in adapter; did you mean 'lora'? (there are adapter, lora, prompt)\n",
    )
