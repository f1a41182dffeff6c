import pytest
import torch
from torch import nn

from mmrun.compose import load_option
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.objectives.denoise import DenoiseSeries, DenoiseTabular
from mmrun.objectives.masked_lm import MaskedLM
from mmrun.objectives.masked_spectrogram import MaskedSpectrogram
from mmrun.objectives.reconstruct import Reconstruct
from mmrun.objectives.self_supervised import SelfSupervised
from mmrun.testing.examples import DIM, DIMS, KINDS, METADATA, build_batch, build_model
from mmrun.types import Features

PRESENT = torch.ones(1, dtype=torch.bool)  # not used by these pretexts, which recover each row by itself
BY_KIND = {
    "image": lambda dim, in_channels, image_size: Reconstruct(dim, in_channels, image_size),
    "text": lambda dim, vocab_size, mask_id, **_: MaskedLM(dim, vocab_size, mask_id),
    "audio": lambda dim, sample_rate, num_samples: MaskedSpectrogram(dim, sample_rate, num_samples, n_mels=16),
    "tabular": DenoiseTabular,
    "series": DenoiseSeries,
}


class Fixed(nn.Module):
    """A decoder with the same output for every vector."""

    def __init__(self, decoded):
        super().__init__()
        self.decoded = decoded

    def forward(self, pooled):
        return self.decoded


def build_objective(*modalities, joint=False):
    learner = build_model()
    torch.manual_seed(1)
    kinds, dims = ({name: table[name] for name in modalities or KINDS} for table in (KINDS, DIMS))
    return SelfSupervised(BY_KIND, kinds, dims, fusion_dim=6, metadata=METADATA, model=learner, joint=joint)


def get_trained_parts(learner):
    return {".".join(name.split(".")[:2]) for name, p in learner.named_parameters() if p.grad is not None}


def test_the_loss_is_the_sum_over_modalities():
    losses = build_objective()(build_model(), build_batch())
    assert set(losses) == {"loss", *(f"loss/{name}" for name in KINDS)}
    assert losses["loss"].item() == pytest.approx(sum(losses[f"loss/{name}"].item() for name in KINDS), rel=1e-6)


def test_alone_only_the_encoders_in_scope_learn():
    learner = build_model()
    build_objective("photo", "cells")(learner, build_batch())["loss"].backward()
    assert get_trained_parts(learner) == {"encoder.photo", "encoder.cells"}


def test_joint_training_teaches_the_fusion_too():
    learner = build_model()
    build_objective(joint=True)(learner, build_batch())["loss"].backward()
    assert get_trained_parts(learner) == {*(f"encoder.{name}" for name in KINDS), "fusion.linear"}


def test_in_joint_training_one_modality_helps_another():
    learner = build_model("photo", "cells")
    data = build_batch("photo", "cells")
    alone, joint = build_objective("photo", "cells"), build_objective("photo", "cells", joint=True)
    data.inputs["cells"]["numeric"].requires_grad_()
    torch.manual_seed(2)
    joint(learner, data)["loss/photo"].backward()
    assert data.inputs["cells"]["numeric"].grad is not None
    torch.manual_seed(2)
    [gradient] = torch.autograd.grad(
        alone(learner, data)["loss/photo"], data.inputs["cells"]["numeric"], allow_unused=True
    )
    assert gradient is None


def test_each_part_is_the_mean_over_the_rows_that_have_the_modality():
    learner, data, photo = build_model("photo"), build_batch("photo"), build_objective("photo")
    data.present["photo"][4:] = False
    pretext = photo.pretext["photo"]
    torch.manual_seed(2)
    corrupted, target = pretext.corrupt(data.inputs["photo"], data.present["photo"])
    expected = pretext.loss(learner.encode({"photo": corrupted})["photo"], target)[:4].mean()
    torch.manual_seed(2)
    assert photo(learner, data)["loss"].item() == pytest.approx(expected.item())


def test_wrong_config_is_refused():
    with pytest.raises(ConfigError) as caught:
        SelfSupervised({"image": BY_KIND["image"]}, {"title": "text"}, DIMS, 6, METADATA, build_model())
    assert str(caught.value) == "objective.by_kind: no pretext for 'title', which is text (there are image)"
    with pytest.raises(ConfigError) as caught:
        SelfSupervised(BY_KIND, {"title": "text"}, DIMS, 6, METADATA, build_model(), joint=True)
    expected = "objective.joint: the fusion needs every modality, but for_each gives the stage only one; drop either"
    assert str(caught.value) == expected


@pytest.mark.parametrize(("kind", "modality"), [(kind, modality) for modality, kind in KINDS.items()])
def test_a_ratio_that_is_no_share_is_refused(kind, modality):
    node = {**load_option("objective", "self_supervised")["by_kind"][kind], "ratio": 1.5}
    with pytest.raises(ConfigError) as caught:
        instantiate(node, "pretext", {"dim": DIM, **METADATA[modality]})
    assert str(caught.value) == "pretext.ratio: 1.5 is not a number above 0 and up to 1"


# ---- the pretexts


def test_reconstruct_hides_blocks_behind_the_mean_and_keeps_the_rest():
    x = torch.rand(64, 1, 16, 16)
    corrupted, target = Reconstruct(DIM, 1, 16, ratio=0.25, grid=4, noise=0.0).corrupt(x, PRESENT)
    assert torch.equal(target, x)
    unchanged = (corrupted == x).unfold(2, 4, 4).unfold(3, 4, 4).flatten(4)  # [B, 1, 4, 4, 16 pixels of a block]
    assert torch.equal(unchanged.all(-1), unchanged.any(-1))  # whole blocks
    assert unchanged.float().mean().item() == pytest.approx(0.75, abs=0.05)
    hidden = corrupted != x
    assert torch.allclose(corrupted[hidden], x.mean((1, 2, 3), keepdim=True).expand_as(x)[hidden])


def test_reconstruct_of_the_standardised_image_itself_costs_nothing():
    pretext = Reconstruct(DIM, 1, 4)
    dark = torch.rand(2, 1, 4, 4) * 0.1
    deviation, mean = torch.std_mean(dark, (1, 2, 3), keepdim=True)
    pretext.decoder = Fixed((dark - mean) / (deviation + 0.01) + 2.0)
    assert pretext.loss(Features(torch.zeros(2, DIM)), dark).tolist() == pytest.approx([2.0, 2.0])  # half of 2 squared


def test_a_large_image_is_recovered_small():
    assert Reconstruct(DIM, 3, 224, resolution=20).decoder(torch.zeros(2, DIM)).shape == (2, 3, 20, 20)


def draw_text(rows=200):
    lengths = torch.tensor([20, 7, 1, 0] * (rows // 4)).unsqueeze(1)
    ids = torch.randint(5, 1000, (rows, 20))
    return {"ids": ids, "mask": torch.arange(20) < lengths}


def test_masked_lm_chooses_the_same_share_of_every_row():
    x = draw_text()
    corrupted, target = MaskedLM(DIM, 1000, mask_id=4, ratio=0.3).corrupt(x, PRESENT)
    assert target["chosen"].sum(1).tolist() == [6, 2, 1, 0] * 50  # at least one where there is a word
    changed = corrupted["ids"] != x["ids"]
    assert not changed[~x["mask"]].any()  # padding is never touched
    chosen = torch.zeros(200, 20, dtype=torch.bool).scatter(1, target["positions"], target["chosen"])
    assert not (changed & ~chosen).any()
    fates = corrupted["ids"][chosen]
    assert (fates == 4).float().mean().item() == pytest.approx(0.8, abs=0.06)
    assert (fates == x["ids"][chosen]).float().mean().item() == pytest.approx(0.1, abs=0.05)


def test_masked_lm_counts_the_chosen_positions_only():
    pretext = MaskedLM(2, vocab_size=2, mask_id=0)
    pretext.head = nn.Identity()  # the tokens are the logits
    tokens = torch.zeros(1, 4, 2)
    tokens[0, 1] = torch.tensor([0.0, 3.0])  # sure of word 1
    tokens[0, 2] = 1000.0  # not chosen
    target = {
        "positions": torch.tensor([[1, 3, 0]]),
        "words": torch.tensor([[1, 0, 1]]),
        "chosen": torch.tensor([[True, True, False]]),
    }
    expected = (torch.log1p(torch.tensor(-3.0).exp()) + torch.log(torch.tensor(2.0))) / 2
    assert pretext.loss(Features(torch.zeros(1, 2), tokens), target).item() == pytest.approx(expected.item())


def test_masked_lm_names_words_from_the_pooled_vector_where_there_are_no_tokens():
    pretext = MaskedLM(2, vocab_size=2, mask_id=0)
    pretext.head = nn.Identity()
    target = {
        "positions": torch.tensor([[1, 3]]),
        "words": torch.tensor([[0, 1]]),
        "chosen": torch.tensor([[True, True]]),
    }
    loss = pretext.loss(Features(torch.zeros(1, 2)), target)
    assert loss.item() == pytest.approx(torch.log(torch.tensor(2.0)).item())


@pytest.mark.parametrize("tokens", [True, False])
def test_masked_lm_teaches_an_encoder_with_and_without_tokens(tokens):
    learner, words = build_model("title", tokens=tokens), build_objective("title")
    words(learner, build_batch("title"))["loss"].backward()
    assert learner.encoder["title"].embed.weight.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in words.parameters())


def test_masked_spectrogram_silences_whole_spans():
    x = {"waveform": torch.rand(50, 160) + 1, "length": torch.full((50,), 160)}
    corrupted, target = MaskedSpectrogram(DIM, 8000, 160, ratio=0.4, spans=16, n_mels=8).corrupt(x, PRESENT)
    silent = (corrupted["waveform"] == 0).unflatten(1, (16, 10))
    assert torch.equal(silent.all(-1), silent.any(-1))
    assert silent.float().mean().item() == pytest.approx(0.4, abs=0.06)
    assert target is x


def test_masked_spectrogram_counts_sound_and_not_padding():
    pretext = MaskedSpectrogram(DIM, 8000, 1600, n_mels=8)
    target = {"waveform": torch.randn(2, 1600), "length": torch.tensor([1600, 800])}
    decoded = torch.zeros(2, 1, *pretext.size)
    pretext.decoder = Fixed(decoded)
    before = pretext.loss(Features(torch.zeros(2, DIM)), target)
    decoded[1, :, :, pretext.size[1] // 2 + 1 :] = 1000.0  # beyond the second clip's end
    after = pretext.loss(Features(torch.zeros(2, DIM)), target)
    assert before.tolist() == after.tolist()
    assert before.tolist() == pytest.approx([1.0, 1.0], abs=0.01)  # of a standardised target, predicted as its mean


def build_cells():
    return {
        "numeric": torch.tensor([[1.0, 0.0]]),
        "missing": torch.tensor([[False, True]]),
        "categorical": torch.tensor([[2, 0]]),
    }


def test_denoise_tabular_takes_cells_away_as_if_they_were_missing():
    pretext = DenoiseTabular(DIM, 2, [3, 4], ratio=1.0)
    corrupted, _ = pretext.corrupt(build_cells(), PRESENT)
    assert corrupted["numeric"].tolist() == [[0.0, 0.0]]
    assert corrupted["missing"].tolist() == [[True, True]]
    assert corrupted["categorical"].tolist() == [[0, 0]]
    corrupted, _ = DenoiseTabular(DIM, 2, [3, 4], ratio=0.0).corrupt(build_cells(), PRESENT)
    assert corrupted["numeric"][0, 0] != 1.0  # noise
    assert corrupted["numeric"][0, 1] == 0.0  # none on missing cells
    assert corrupted["missing"].tolist() == [[False, True]]
    assert corrupted["categorical"].tolist() == [[2, 0]]


def test_denoise_tabular_counts_the_cells_that_have_a_value():
    pretext = DenoiseTabular(9, 2, [3, 4])
    pretext.decoder = nn.Identity()  # the pooled vector is 2 numbers, 3 and 4 logits
    pooled = torch.zeros(1, 9)
    pooled[0, 0], pooled[0, 1], pooled[0, 5] = 3.0, 50.0, 60.0  # the second number and category are missing
    expected = ((3 - 1) ** 2 + torch.log(torch.tensor(3.0))) / 2
    assert pretext.loss(Features(pooled), build_cells()).item() == pytest.approx(expected.item())


def test_denoise_tabular_of_numbers_alone_or_categories_alone():
    numbers = {"numeric": torch.ones(2, 3), "missing": torch.zeros(2, 3, dtype=torch.bool)}
    for pretext, x in (
        (DenoiseTabular(DIM, 3, []), {**numbers, "categorical": torch.zeros(2, 0, dtype=torch.int64)}),
        (
            DenoiseTabular(DIM, 0, [3]),
            {
                "numeric": torch.zeros(2, 0),
                "missing": torch.zeros(2, 0, dtype=torch.bool),
                "categorical": torch.ones(2, 1, dtype=torch.int64),
            },
        ),
    ):
        _, target = pretext.corrupt(x, PRESENT)
        assert pretext.loss(Features(torch.randn(2, DIM)), target).isfinite().all()


def test_denoise_series_hides_spans_in_all_channels():
    x = {"values": torch.rand(50, 3, 32) + 1, "mask": torch.ones(50, 32, dtype=torch.bool)}
    corrupted, target = DenoiseSeries(DIM, 3, 32, ratio=0.4, spans=16).corrupt(x, PRESENT)
    hidden = (corrupted["values"] == 0).unflatten(2, (16, 2))
    assert torch.equal(hidden.all(-1).all(1), hidden.any(-1).any(1))
    assert hidden.float().mean().item() == pytest.approx(0.4, abs=0.06)
    assert target is x


def test_denoise_series_counts_the_real_steps():
    pretext = DenoiseSeries(DIM, 1, 4)
    pretext.decoder = Fixed(torch.tensor([[[[1.0, 1.0, 9.0, 9.0]]]]))
    target = {"values": torch.tensor([[[1.0, 3.0, 0.0, 0.0]]]), "mask": torch.tensor([[True, True, False, False]])}
    assert pretext.loss(Features(torch.zeros(1, DIM)), target).tolist() == [2.0]  # (0 + 4) / 2
