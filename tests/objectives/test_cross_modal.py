import pytest
import torch

from mmrun.compose import list_options
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.models.multimodal import Multimodal
from mmrun.objectives.cross_modal import CrossModal
from mmrun.testing.examples import DIMS, KINDS, METADATA, TASKS, build_batch, build_model
from tests.options import load_option

FUSIONS = [
    name for name in list_options("fusion") if name not in ("aligned", "flava")
]  # without parameters; pretrained
OPTIONAL_KWARGS = {"kinds": KINDS, "dims": DIMS, "fusion_dim": 6, "metadata": METADATA}


def build_objective(**changes):
    torch.manual_seed(1)
    return instantiate(load_option("objective", "cross_modal_masked"), "objective", {**OPTIONAL_KWARGS, **changes})


def select_kwargs(*modalities):
    return {key: {name: OPTIONAL_KWARGS[key][name] for name in modalities} for key in ("kinds", "dims", "metadata")}


def test_a_modality_is_hidden_whole_from_what_recovers_it():
    learner, data = build_model("cells", "sensor"), build_batch("cells", "sensor")
    data.inputs["sensor"]["values"].requires_grad_()
    pretext = build_objective(**select_kwargs("cells", "sensor"))
    loss = pretext(learner, data)["loss/cells"]
    encoded = list(learner.encoder["cells"].parameters())
    gradients = torch.autograd.grad(loss, [*encoded, data.inputs["sensor"]["values"]], allow_unused=True)
    assert all(gradient is None or not gradient.any() for gradient in gradients[:-1])
    assert gradients[-1].any()


def test_rows_with_nothing_to_recover_from_do_not_count():
    learner, data, pretext = (
        build_model("cells", "sensor"),
        build_batch("cells", "sensor"),
        build_objective(**select_kwargs("cells", "sensor")),
    )
    data.present["sensor"][:] = False
    losses = pretext(learner, data)
    assert {part: loss.item() for part, loss in losses.items()} == {
        "loss": 0.0,
        "loss/cells": 0.0,
        "loss/sensor": 0.0,
    }


def train_to_recover(learned_from_others):
    """Train on tables whose numbers are those of the row's series; return the loss of recovering the table."""
    learner, pretext = build_model("cells", "sensor"), build_objective(**select_kwargs("cells", "sensor"))
    optimizer = torch.optim.Adam([*learner.parameters(), *pretext.parameters()], lr=1e-2)
    for _ in range(150):
        data = build_batch("cells", "sensor", rows=32)
        values = torch.randn(32, 2, 1)
        data.inputs["sensor"]["values"] = values.expand(32, 2, 12).clone()
        numbers = values.squeeze(2) if learned_from_others else torch.randn(32, 2)
        data.inputs["cells"]["numeric"] = torch.cat([numbers, numbers[:, :1]], 1)
        data.inputs["cells"]["categorical"].zero_()  # no category has a value
        losses = pretext(learner, data)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    return losses["loss/cells"].item()


def test_what_others_tell_is_recovered_and_what_they_do_not_is_not():
    assert train_to_recover(learned_from_others=True) < 0.2
    assert train_to_recover(learned_from_others=False) > 0.6  # the variance, 1, is all that is left


def test_it_needs_all_modalities_and_more_than_one():
    with pytest.raises(ConfigError) as caught:
        build_objective(kinds={"cells": "tabular"})
    assert (
        str(caught.value)
        == "objective: the fusion needs every modality, but for_each gives the stage only one; drop either"
    )
    with pytest.raises(ConfigError) as caught:
        build_objective(**select_kwargs("cells"))
    assert (
        str(caught.value)
        == "objective: a modality is recovered from others, and the model has only cells; add a modality"
    )


def test_two_views_cannot_be_told_from_the_others():
    by_kind = {"image": lambda dim, **_: instantiate(load_option("pretext/image", "simclr"), "pretext", {"dim": dim})}
    kinds = {"photo": "image", "rear": "image"}
    with pytest.raises(ConfigError) as caught:
        CrossModal(by_kind, kinds, dict.fromkeys(kinds, 12), 6, dict.fromkeys(kinds, METADATA["photo"]))
    assert str(caught.value) == (
        "objective: the fused vector already contains what SimClr has to predict; choose another by_kind.image"
    )


@pytest.mark.parametrize("name", FUSIONS)
def test_it_teaches_every_fusion(name):
    torch.manual_seed(0)
    node = load_option("fusion", name) | ({"width": 3} if name == "tensor" else {})  # of many modalities
    fusion = instantiate(node, "fusion", {"dims": DIMS, "num_outputs": 3})
    learner = Multimodal(dict(build_model().encoder.items()), fusion, {"label": TASKS["label"]})
    build_objective(fusion_dim=fusion.dim)(learner, build_batch())["loss"].backward()
    gradients = [parameter.grad for parameter in fusion.parameters()]
    assert name == "aligned" or any(gradient is not None and gradient.any() for gradient in gradients)  # it has none
