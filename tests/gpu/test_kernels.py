"""Every kind of encoder on the device, where kernels without a deterministic version are refused."""

from itertools import product

import pytest
import torch
from torch.utils._pytree import tree_map

from mmrun import compose
from mmrun.instantiate import instantiate
from mmrun.testing.encoders import score
from mmrun.testing.examples import ENCODER_METADATA, encoder_input
from mmrun.types import KINDS, Features

WITHOUT_GRADIENTS = ("pca", "ica")
FROM_A_HUB = ("hf", "tower", "frames_hf")
ENCODERS = [
    f"{kind}/{name}"
    for kind, name in [(kind, name) for kind in KINDS for name in compose.list_options(f"encoder/{kind}")]
    if name not in (*WITHOUT_GRADIENTS, *FROM_A_HUB)
]


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def build_encoder(case):
    kind, _, name = case.partition("/")
    node = dict(compose.load_option(f"encoder/{kind}", name))
    if "pretrained" in node:
        node["pretrained"] = False
    if "frame" in node and "pretrained" in node["frame"]:
        node["frame"] = {**node["frame"], "pretrained": False}
    return instantiate(node, "encoder.x", ENCODER_METADATA[kind], drop=("preprocess",))


@pytest.mark.parametrize(("precision", "case"), product([torch.float32, torch.bfloat16], ENCODERS))
def test_gradients_of_an_encoder_repeat_their_bits(device, deterministic, precision, case):
    torch.manual_seed(0)
    encoder = build_encoder(case).to(device)
    x = tree_map(lambda part: part.to(device), encoder_input(encoder.kind))
    gradients = []
    for _ in range(2):
        torch.manual_seed(1)
        encoder.zero_grad()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            features = encoder(x)
        score(Features(*(None if part is None else part.float().cpu() for part in features))).backward()
        gradients.append([parameter.grad for parameter in encoder.parameters() if parameter.grad is not None])
    first, second = gradients
    assert len(first) > 0
    assert all(gradient.isfinite().all() for gradient in first)
    assert all(one.equal(other) for one, other in zip(first, second, strict=True))
