import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.objectives.self_supervised import SelfSupervised
from mmrun.testing.examples import DIM, DIMS, KINDS, METADATA, build_batch, build_model
from tests.objectives.single import BY_KIND, build_objective, get_trained_parts
from tests.options import load_option


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
