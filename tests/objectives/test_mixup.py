import pytest
import torch

from mmrun.errors import ConfigError
from mmrun.objectives.mixup import MixUp, draw_beta, mix
from mmrun.objectives.task import Task
from mmrun.testing.examples import KINDS, TASKS, build_batch, build_model
from mmrun.types import Features

LAM = torch.tensor(0.25)
PARTNER = torch.tensor([1, 2, 0])


def build(**changes):
    return MixUp(Task, TASKS, KINDS, **changes)


def test_rows_are_mixed_where_both_have_the_modality():
    pooled = torch.tensor([[4.0], [8.0], [float("nan")]])
    mixed = mix(Features(pooled), torch.tensor([True, True, False]), PARTNER, LAM).pooled
    assert mixed.tolist() == [[0.25 * 4 + 0.75 * 8], [8.0], [4.0]]


def test_tokens_are_mixed_where_both_are_real():
    tokens = torch.tensor([[[4.0], [5.0]], [[8.0], [0.0]], [[1.0], [1.0]]])
    mask = torch.tensor([[True, True], [True, False], [True, True]])
    mixed = mix(Features(tokens[:, 0], tokens, mask), torch.tensor([True, True, False]), PARTNER, LAM)
    assert mixed.tokens.squeeze(2).tolist()[0] == [7.0, 5.0]
    assert mixed.mask.tolist() == [[True, True], [True, False], [True, True]]
    assert mixed.tokens[2].squeeze(1).tolist() == [4.0, 5.0]


def test_targets_are_mixed_as_features_are():
    learner, data = build_model("photo"), build_batch("photo")
    objective = MixUp(Task, TASKS, {"photo": "image"}, alpha=1.0)
    torch.manual_seed(3)
    losses = objective(learner, data)
    torch.manual_seed(3)
    lam = draw_beta(1.0, torch.device("cpu"))
    partner = torch.rand(8).argsort()
    pooled = learner.encoder["photo"](data.inputs["photo"]).pooled
    mixed = {"photo": Features(lam * pooled + (1 - lam) * pooled[partner])}
    outputs = learner.forward_head(learner.fusion(mixed, data.present))
    expected = sum(
        lam * task.loss(outputs[name], data.targets[name])
        + (1 - lam) * task.loss(outputs[name], data.targets[name][partner])
        for name, task in TASKS.items()
    )
    assert losses["loss"].item() == pytest.approx(expected.item(), rel=1e-5)


def test_rows_that_have_nothing_do_no_harm():
    learner, data = build_model(), build_batch()
    for name in KINDS:
        data.present[name][:] = False
    data.present["photo"][0] = True
    assert build()(learner, data)["loss"].isfinite()


def test_validation_sees_the_rows_as_they_are():
    learner, data = build_model(), build_batch()
    assert build().eval()(learner, data)["loss"].item() == Task(TASKS)(learner, data)["loss"].item()


def test_an_alpha_of_zero_is_refused():
    with pytest.raises(ConfigError) as caught:
        build(alpha=0.0)
    assert str(caught.value) == "objective.alpha: 0.0 is not above 0"


@pytest.mark.parametrize(("alpha", "unmixed"), [(1e-4, 1.0), (1e-3, 1.0), (0.2, 0.58), (1.0, 0.1)])
def test_the_share_of_a_row_follows_the_beta_distribution(alpha, unmixed):
    """Of Beta(alpha, alpha), the mean is 1/2, and the share below 0.05 or above 0.95 falls with alpha."""
    torch.manual_seed(0)
    shares = torch.stack([draw_beta(alpha, torch.device("cpu")) for _ in range(2000)])
    assert shares.mean().item() == pytest.approx(0.5, abs=0.04)
    assert ((shares - 0.5).abs() > 0.45).float().mean().item() == pytest.approx(unmixed, abs=0.04)


class Seen(Task):
    """Records the features that are fused, and the targets."""

    def predict(self, model, features, present):
        self.features, self.targets = features, []
        return super().predict(model, features, present)

    def compute_losses(self, outputs, batch):
        self.targets.append(batch.targets["age"])
        return super().compute_losses(outputs, batch)


def mix_some(**changes):
    """Return the objective after a step, and the features of its rows before they were mixed."""
    torch.manual_seed(0)
    objective, model, data = MixUp(Seen, TASKS, KINDS, alpha=1.0, **changes), build_model(), build_batch()
    objective(model, data)
    return objective, model.encode(data.inputs)


def test_modalities_that_are_not_named_are_not_mixed():
    objective, unmixed = mix_some(modalities=["photo"])
    mixed = objective.task.features
    assert mixed["sound"].pooled.equal(unmixed["sound"].pooled)
    assert not mixed["photo"].pooled.allclose(unmixed["photo"].pooled)


def test_modalities_mixed_apart_have_partners_of_their_own():
    objective, _ = mix_some(modalities=["photo", "sound"], joint=False)
    _, partners_of_photo, partners_of_sound = objective.task.targets
    assert not partners_of_photo.equal(partners_of_sound)
    together, _ = mix_some(modalities=["photo", "sound"])
    assert len(together.task.targets) == 2


def test_mixed_rows_are_counted_and_those_of_validation_are_not():
    objective, _ = mix_some()
    objective.on_step_end(build_model())
    own, partners = objective.task.targets
    assert objective.synthetic.total.item() == (own != partners).sum().item()
    before = objective.synthetic.total.item()
    objective.eval()(build_model(), build_batch())
    objective.on_step_end(build_model())
    assert objective.synthetic.total.item() == before
