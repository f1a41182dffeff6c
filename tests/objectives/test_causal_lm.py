import pytest
import torch
from torch import nn

from mmrun.errors import ConfigError
from mmrun.models.encoders.text import Rnn, TextCnn, Transformer
from mmrun.objectives.causal_lm import CausalLM
from mmrun.objectives.self_supervised import SelfSupervised
from mmrun.testing.examples import DIMS, METADATA, build_model
from mmrun.types import Features

ADVICE = "try encoder.title=gru encoder.title.bidirectional=false, or encoder.title=hf encoder.title.model=gpt2"


def check_encoder(encoder):
    CausalLM(encoder.dim, 20).check(encoder, "encoder.title")


def build_hf_text(folder, config):
    config.save_pretrained(folder)
    from mmrun.models.encoders.hf import HfText

    return HfText(str(folder), vocab_size=20, max_tokens=10, pretrained=False)


def test_each_word_is_predicted_from_those_before():
    pretext = CausalLM(3, vocab_size=3)
    pretext.head = nn.Identity()  # the tokens are the logits
    sure = 50 * nn.functional.one_hot(torch.tensor([[1, 2, 0, 0]]), 3).float()
    text = {"ids": torch.tensor([[0, 1, 2, 1]]), "mask": torch.tensor([[True, True, True, False]])}
    assert pretext.loss(Features(torch.zeros(1, 3), sure), text).item() == pytest.approx(0.0)
    unsure = torch.zeros(1, 4, 3)
    unsure[0, 2] = 1000.0 * torch.eye(3)[0]  # predicts what is padding
    assert pretext.loss(Features(torch.zeros(1, 3), unsure), text).item() == pytest.approx(torch.tensor(3.0).log())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_encoders_of_one_direction_may_learn_it(cell):
    check_encoder(Rnn(20, 0, cell, dim=8, embedding_dim=8, num_layers=2, bidirectional=False))


@pytest.mark.parametrize(
    "encoder",
    [
        Rnn(20, 0, "gru", dim=8, embedding_dim=8),
        TextCnn(20, 0, embedding_dim=8, channels=4),
        Transformer(20, 10, 0, dim=8, num_heads=2),
    ],
    ids=lambda encoder: type(encoder).__name__,
)
def test_an_encoder_that_sees_ahead_is_refused(encoder):
    with pytest.raises(ConfigError) as caught:
        check_encoder(encoder)
    assert str(caught.value) == f"encoder.title: its tokens see the tokens that causal_lm has to predict; {ADVICE}"


def test_gpt2_may_learn_it_and_bert_may_not(tmp_path):
    from transformers import BertConfig, GPT2Config

    check_encoder(
        build_hf_text(tmp_path / "gpt2", GPT2Config(vocab_size=20, n_positions=10, n_embd=16, n_layer=2, n_head=2))
    )
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    with pytest.raises(ConfigError):
        check_encoder(build_hf_text(tmp_path / "bert", BertConfig(vocab_size=20, max_position_embeddings=10, **size)))


def test_an_encoder_without_tokens_is_refused_before_the_first_step():
    metadata = {"title": METADATA["title"]}
    made = {"text": lambda dim, vocab_size, **_: CausalLM(dim, vocab_size)}
    with pytest.raises(ConfigError) as caught:
        SelfSupervised(made, {"title": "text"}, DIMS, 6, metadata, build_model("title", tokens=False))
    expected = f"encoder.title: causal_lm needs one token per input token, and this encoder has none; {ADVICE}"
    assert str(caught.value) == expected


def test_checking_an_encoder_leaves_it_unchanged():
    encoder = Rnn(20, 0, "gru", dim=8, embedding_dim=8, bidirectional=False)
    encoder.dropout.eval()
    pretext = CausalLM(8, 20)
    state = torch.get_rng_state()
    pretext.check(encoder, "encoder.title")
    assert [encoder.training, encoder.dropout.training, encoder.recurrent.training] == [True, False, True]
    assert torch.equal(torch.get_rng_state(), state)
