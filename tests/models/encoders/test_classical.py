"""Fitted encoders compute what scikit-learn computes from the same rows, however they are batched."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA, FastICA, IncrementalPCA
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor

from mmrun.data.preprocess.text import Tokens
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.models.encoders.classical import (
    ICA_MAX_ROWS,
    PCA_BLOCK_ROWS,
    Pixels,
    Projection,
    Row,
    Spectrum,
    Steps,
)
from mmrun.models.encoders.text import Bow


def make_images(num_rows: int, seed: int = 0) -> Tensor:  # [B, 1, 6, 6], of four uniform, so not Gaussian, sources
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(4, 36, generator=torch.Generator().manual_seed(9))
    sources = torch.rand(num_rows, 4, generator=generator) * torch.tensor([4.0, 3.0, 2.0, 1.0])
    noise = torch.randn(num_rows, 36, generator=generator) / 50
    return (sources @ mixing + noise + 0.5).view(num_rows, 1, 6, 6)


def fit_pixels(method: str, x: Tensor, batch_size: int = 64, dim: int = 4) -> Projection:
    encoder = Pixels(in_channels=1, image_size=6, method=method, dim=dim)
    encoder.fit(x.split(batch_size))
    return encoder


def encode(encoder: Projection, x: Any) -> np.ndarray:
    with torch.no_grad():
        return encoder(x).pooled.numpy()


def test_principal_components_are_those_of_scikit_learn() -> None:
    x, new = make_images(300), make_images(10, seed=1)
    encoder, expected = fit_pixels("pca", x), PCA(4, whiten=True, svd_solver="full").fit(x.flatten(1).numpy())
    deviation = np.sqrt(expected.explained_variance_)[:, None]
    np.testing.assert_allclose(encoder.mean, expected.mean_, atol=1e-5)
    np.testing.assert_allclose(encoder.weight.numpy() * deviation, expected.components_, atol=1e-4)
    np.testing.assert_allclose(encode(encoder, new), expected.transform(new.flatten(1).numpy()), atol=1e-3)
    np.testing.assert_allclose(encode(encoder, x).var(axis=0, ddof=1), np.ones(4), atol=1e-4)


def test_more_rows_than_a_block_are_fitted_block_by_block() -> None:
    x = make_images(2 * PCA_BLOCK_ROWS + 100)
    expected = IncrementalPCA(4, whiten=True, batch_size=PCA_BLOCK_ROWS).fit(x.flatten(1).numpy())
    np.testing.assert_allclose(encode(fit_pixels("pca", x), x), expected.transform(x.flatten(1).numpy()), atol=1e-3)


@pytest.mark.filterwarnings("ignore:FastICA did not converge")
def test_independent_components_are_those_of_scikit_learn() -> None:
    x = make_images(400)
    expected = FastICA(4, whiten="unit-variance", random_state=0).fit(x.flatten(1).numpy())
    encoder = fit_pixels("ica", x)
    assert np.array_equal(encoder.weight, expected.components_)
    np.testing.assert_allclose(encode(encoder, x), expected.transform(x.flatten(1).numpy()), atol=1e-3)


def test_independent_components_find_the_sources_again() -> None:
    x = make_images(1500)
    sources = torch.rand(1500, 4, generator=torch.Generator().manual_seed(0))
    correlation = np.abs(np.corrcoef(encode(fit_pixels("ica", x), x), sources, rowvar=False)[:4, 4:])
    assert (correlation.max(axis=0) > 0.97).all()
    mixed = np.abs(np.corrcoef(encode(fit_pixels("pca", x), x), sources, rowvar=False)[:4, 4:])
    assert (mixed.max(axis=0) < 0.97).any()  # principal components do not


@pytest.mark.filterwarnings("ignore:FastICA did not converge")
@pytest.mark.parametrize("method", ["pca", "ica"])
def test_how_rows_are_cut_into_batches_does_not_matter(method: str) -> None:
    x = make_images(ICA_MAX_ROWS + 300)
    assert torch.equal(fit_pixels(method, x, 64).weight, fit_pixels(method, x, 999).weight)
    assert torch.equal(fit_pixels(method, x, 64).mean, fit_pixels(method, x, 2300).mean)


@pytest.mark.parametrize("method", ["pca", "ica"])
def test_only_the_given_rows_count(method: str) -> None:
    train, test = make_images(200), make_images(100, seed=1)
    batch_sizes: list[int] = []

    def batches() -> Iterator[Tensor]:
        for batch in train.split(50):
            batch_sizes.append(len(batch))
            yield batch

    encoder = Pixels(1, 6, method, 4)
    encoder.fit(batches())
    assert batch_sizes == [50, 50, 50, 50]
    torch.testing.assert_close(encoder.mean, train.flatten(1).mean(dim=0))
    assert not torch.allclose(encoder.mean, torch.cat([train, test]).flatten(1).mean(dim=0), atol=1e-3)


def test_independent_components_draw_rows_from_all_over() -> None:
    x = make_images(ICA_MAX_ROWS + 1000)
    x[ICA_MAX_ROWS:] += 3
    assert 0.7 < (fit_pixels("ica", x).mean - make_images(3000).flatten(1).mean(dim=0)).mean() < 1.3  # a third of 3


@pytest.mark.parametrize("method", ["pca", "ica"])
def test_features_are_zero_before_fitting(method: str) -> None:
    assert encode(Pixels(1, 6, method, 4), make_images(3)).tolist() == [[0.0] * 4] * 3


def test_precision_of_the_run_does_not_matter() -> None:
    encoder, x = fit_pixels("pca", make_images(100)), make_images(5)
    with torch.autocast("cpu", torch.bfloat16):
        in_bfloat16 = encode(encoder, x)
    assert np.array_equal(in_bfloat16, encode(encoder, x))


def test_a_fitted_encoder_loads_into_one_that_is_not() -> None:
    encoder = fit_pixels("pca", make_images(100))
    fresh = Pixels(1, 6, "pca", 4)
    fresh.load_state_dict(encoder.state_dict(), strict=True)
    assert np.array_equal(encode(fresh, make_images(5)), encode(encoder, make_images(5)))


def test_a_direction_in_which_nothing_varies_stays_zero() -> None:
    x = torch.zeros(50, 1, 6, 6)
    x[:, 0, 0, 0] = torch.linspace(0, 1, 50)
    components = encode(fit_pixels("pca", x), x)
    assert components.std(axis=0, ddof=1).tolist() == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Pixels(1, 6, "nmf", 4), "method='nmf': choose pca or ica"),
        (lambda: Pixels(1, 6, "pca", 37), "dim=37: a row has 36 values, which allow at most as many components"),
        (
            lambda: fit_pixels("pca", make_images(3)),
            "dim=4: 3 training rows allow at most as many principal components",
        ),
        (
            lambda: fit_pixels("ica", make_images(4)),
            "dim=4: the training rows vary in 3 directions, which allow at most as many independent components",
        ),
        (
            lambda: Pixels(1, 6, "ica", 4).fit([]),
            "dim=4: the training rows vary in 0 directions, which allow at most as many independent components",
        ),
    ],
)
def test_too_many_components_are_rejected(make: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert str(caught.value) == message


def test_each_kind_is_flattened_to_one_vector() -> None:
    row = {
        "numeric": torch.tensor([[0.5, 0.0]]),
        "missing": torch.tensor([[False, True]]),
        "categorical": torch.tensor([[2, 1]]),
    }
    assert Row(2, [3, 2], "pca", 4).flatten(row).tolist() == [[0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0]]
    short = {"values": torch.tensor([[[1.0, 2.0, 7.0]]]), "mask": torch.tensor([[True, True, False]])}
    assert Steps(1, 5, "pca", 4).flatten(short).tolist() == [[1.0, 2.0, 0.0, 0.0, 0.0]]
    assert Spectrum(8000, 8000, "pca", 4).flatten({"waveform": torch.zeros(2, 8000)}).shape == (2, 64 * 63)


def test_a_bag_of_words_weighs_them_as_scikit_learn_does() -> None:
    generator = torch.Generator().manual_seed(0)
    ids, mask = torch.randint(0, 12, (30, 8), generator=generator), torch.rand(30, 8, generator=generator) < 0.7
    bow = Bow(vocab_size=12, special_ids=[0, 1, 2], dim=9)
    bow.fit({"ids": ids[i : i + 7], "mask": mask[i : i + 7]} for i in range(0, 30, 7))
    counts = np.stack(
        [np.bincount(row[real], minlength=12) for row, real in zip(ids.numpy(), mask.numpy(), strict=True)]
    )
    tfidf = TfidfTransformer().fit(counts[:, 3:])
    np.testing.assert_allclose(bow.idf, [0, 0, 0, *tfidf.idf_], rtol=1e-6)
    with torch.no_grad():
        bow.linear.weight.copy_(torch.eye(12)[3:])
        bow.linear.bias.zero_()
        features = bow({"ids": ids, "mask": mask})
    np.testing.assert_allclose(features.pooled, tfidf.transform(counts[:, 3:]).toarray(), atol=1e-6)
    assert features.tokens is None


def test_a_bag_of_words_counts_no_special_tokens() -> None:
    tokens = Tokens(vocab_size=60, max_tokens=8)
    tokens.fit(Column("text", ["a cat", "a dog", "the cat and the dog"]), np.arange(3))
    assert tokens.metadata["special_ids"] == [0, 1, 2, 3, 4]
    bow = Bow(tokens.metadata["vocab_size"], tokens.metadata["special_ids"])
    empty = tokens.decode("")  # [CLS] [SEP]
    features = bow({"ids": torch.tensor([empty["ids"].tolist()]), "mask": torch.tensor([empty["mask"].tolist()])})
    torch.testing.assert_close(features.pooled[0], bow.linear.bias)
    restored = Tokens()
    restored.restore(json.loads(json.dumps(tokens.state())))
    assert restored.metadata == tokens.metadata


def test_a_bag_of_words_ignores_word_order() -> None:
    bow, all_real = Bow(20, [0, 1, 2, 3, 4]), torch.ones(1, 4, dtype=torch.bool)
    first, second, third = (
        bow({"ids": torch.tensor([ids]), "mask": all_real}).pooled for ids in ([2, 7, 9, 3], [9, 7, 0, 1], [9, 7, 7, 3])
    )
    assert torch.equal(first, second)  # the same words, and special tokens, which do not count
    assert not torch.equal(first, third)
    assert bow.idf.tolist() == [0.0] * 5 + [1.0] * 15


def test_words_that_are_rare_in_training_are_no_noise():
    """Of titles of 6 of 1,000 words: weights that start at 1 stay above what is learned of a word."""
    generator = torch.Generator().manual_seed(0)
    weight_of_word = torch.randn(1000, generator=generator)
    ids = torch.randint(5, 1000, (2500, 6), generator=generator)
    x, y = {"ids": ids, "mask": torch.ones_like(ids, dtype=torch.bool)}, (weight_of_word[ids].sum(dim=1) > 0).long()
    train, test = {k: v[:500] for k, v in x.items()}, {k: v[500:] for k, v in x.items()}
    accuracy = {}
    for deviation in (None, 1.0):
        torch.manual_seed(0)
        bow, head = Bow(1000, [0, 1, 2, 3, 4], dim=64), torch.nn.Linear(64, 2)
        if deviation is not None:
            torch.nn.init.normal_(bow.linear.weight, std=deviation)
        bow.fit([train])
        optimizer = torch.optim.AdamW([*bow.parameters(), *head.parameters()], lr=1e-3)
        for _ in range(60):
            loss = torch.nn.functional.cross_entropy(head(bow(train).pooled), y[:500])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy[deviation] = (head(bow(test).pooled).argmax(dim=1) == y[500:]).float().mean().item()
    assert accuracy[None] > 0.64
    assert accuracy[1.0] < 0.6
