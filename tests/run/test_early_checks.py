"""What a config alone shows to be impossible."""

import subprocess
import sys

import pytest

from mmrun import compose, hub
from mmrun.errors import ConfigError
from mmrun.run.early_checks import check_early

CAUSAL = ["modalities=[text]", "strategy=component", "objective@strategy.stages.pretrain.objective=causal_lm"]


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty cache, and a hub that cannot be reached."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub, "is_hub_reachable", lambda: False)
    return tmp_path


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["encoder.text=gru"], "its tokens see the tokens that causal_lm has to predict"),
        (["encoder.text=lstm"], "its tokens see the tokens that causal_lm has to predict"),
        (["encoder.text=transformer"], "its tokens see the tokens that causal_lm has to predict"),
        (["encoder.text=bow"], "causal_lm needs one token per input token, and this encoder has none"),
    ],
)
def test_causal_lm_is_refused_where_an_encoder_sees_ahead(overrides, reason):
    with pytest.raises(ConfigError) as error:
        check_early(compose.load([*CAUSAL, *overrides]))
    assert str(error.value) == (
        f"strategy.stages.pretrain.objective: encoder.text: {reason}; "
        "try encoder.text=gru encoder.text.bidirectional=false, or encoder.text=hf encoder.text.model=gpt2"
    )


def test_causal_lm_is_accepted_where_it_works():
    check_early(compose.load([*CAUSAL, "encoder.text=gru", "encoder.text.bidirectional=false"]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["encoder.image=vit_tiny"],
            "encoder.image: weights for vit_tiny_patch16_224 are not cached and the hub cannot be reached; "
            "pass pretrained=false, or pretrained=<a file of weights>",
        ),
        (
            ["encoder.text=hf", "encoder.text.model=gpt2"],
            "encoder.text: weights for gpt2 are not cached and the hub cannot be reached; "
            "pass model=<a local folder> (with pretrained=false its config.json is enough)",
        ),
        (
            ["encoder.text=gru", "encoder.text.preprocess.tokenizer=bert-base-uncased"],
            "encoder.text: the tokenizer's files of bert-base-uncased are not cached and the hub cannot be reached; "
            "set preprocess.tokenizer to a folder that holds tokenizer.json, or to null to train one",
        ),
    ],
)
def test_weights_that_are_nowhere_are_refused(hub_cache, overrides, message):
    with pytest.raises(ConfigError) as error:
        check_early(compose.load(overrides))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("repository", "overrides"),
    [
        ("models--timm--vit_tiny_patch16_224.augreg_in21k_ft_in1k", ["encoder.image=vit_tiny"]),
        ("models--apple--mobileclip_s0_timm", ["encoder.image=timm", "encoder.image.model=fastvit_mci0"]),
        ("models--gpt2", ["encoder.text=hf", "encoder.text.model=gpt2"]),
    ],
)
def test_weights_that_may_be_cached_are_accepted(hub_cache, repository, overrides):
    (hub_cache / repository).mkdir()
    check_early(compose.load(overrides))


def test_random_weights_and_folders_need_no_hub(hub_cache, tmp_path):
    check_early(compose.load(["encoder.image=vit_tiny", "encoder.image.pretrained=false"]))
    check_early(compose.load(["encoder.text=hf", f"encoder.text.model={tmp_path}"]))


def test_nothing_is_built_before(tmp_path):
    """The refusal needs no torch, whose import takes longer than the check."""
    code = (
        "import sys; from mmrun.cli import main; "
        "code = main(['train', 'encoder.image=vit_tiny']); print(code, 'torch' in sys.modules)"
    )
    environment = {
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "HOME": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "2 False\n", done.stderr
    assert done.stderr.startswith("mmrun: encoder.image: weights for vit_tiny_patch16_224 are not cached")
    assert list(tmp_path.glob("outputs*")) == []
