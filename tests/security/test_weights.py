"""Weights that a stranger made: no pickle is opened, and no code that comes with a model is run."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from mmrun.errors import ConfigError
from mmrun.models.encoders.hf import HfText

TINY = {"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}


class Touch:
    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A folder of a tiny BERT, from which nothing may unpickle."""
    monkeypatch.chdir(tmp_path)
    BertModel(BertConfig(**TINY)).save_pretrained(tmp_path / "model")

    def refuse(*arguments, **options):
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    return tmp_path / "model"


def reject(model: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        HfText(str(model), vocab_size=40, max_tokens=4)
    assert not Path("pwned").exists()
    return str(caught.value)


def change_config(model: Path, **changes: object) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_safetensors_folder_is_loaded(model):
    assert HfText(str(model), vocab_size=40, max_tokens=4).dim == 8


def test_a_pickle_is_refused_in_one_line(model):
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Touch()))
    message = reject(model)
    assert message.startswith(f"{model}: ")
    assert "safetensors" in message
    assert "\n" not in message


def test_a_safetensors_file_that_is_a_pickle_is_refused(model):
    (model / "model.safetensors").write_bytes(pickle.dumps(Touch()))
    assert "\n" not in reject(model)


def test_code_that_comes_with_a_model_is_not_run(model):
    (model / "modeling_own.py").write_text("from pathlib import Path\nPath('pwned').touch()\n")
    auto_map = {"AutoConfig": "modeling_own.Own", "AutoModel": "modeling_own.Own"}
    change_config(model, auto_map=auto_map, model_type="own")
    assert "\n" not in reject(model)


def test_a_kernel_on_the_hub_is_refused(model):
    change_config(model, attn_implementation="stranger/kernel")
    assert reject(model) == (
        f"{model}: its config names stranger/kernel, code from the hub; remove _attn_implementation_internal from "
        "config.json"
    )


def test_an_adapter_is_refused(model):
    (model / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(model)}))
    (model / "adapter_model.bin").write_bytes(pickle.dumps(Touch()))
    assert reject(model) == f"{model}: holds an adapter (adapter_config.json); merge it into the model, and save that"


def test_a_tokenizer_runs_no_code(model):
    from mmrun.data.preprocess.vocabulary import load_vocabulary

    (model / "own.py").write_text("from pathlib import Path\nPath('pwned').touch()\n")
    tokenizer = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}}
    (model / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ConfigError) as caught:
        load_vocabulary(str(model))
    assert "\n" not in str(caught.value)
    assert not Path("pwned").exists()


def test_a_safetensors_header_cannot_claim_memory(model):
    claim = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (model / "model.safetensors").write_bytes(len(claim).to_bytes(8, "little") + claim)
    assert "\n" not in reject(model)
