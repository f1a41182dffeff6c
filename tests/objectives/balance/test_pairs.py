"""Every balance around every objective: it trains, or is refused in one line before anything trains."""

import pytest
import torch

from mmrun.compose import list_options
from mmrun.errors import ConfigError
from mmrun.instantiate import instantiate
from mmrun.testing.examples import TASKS, build_batch, build_model
from mmrun.testing.objectives import OPTIONAL_KWARGS
from tests.objectives.balance.methods import NAMES, all_close, build_learner, compute_gradients, get_kwargs, tasks_of
from tests.options import load_option

OBJECTIVES = list_options("objective")
LEARN_FROM_TARGETS = {
    "task",
    "multi_loss",
    "probe",
    "mixup",
    "cutmix",
    "modality_dropout",
    "modality_shuffle",
    "fgm",
    "fgsm",
    "pgd",
}
ACCEPTED = {  # by each balance that does not accept all of them
    "gradient_blending": LEARN_FROM_TARGETS,
    "lfm_learned": LEARN_FROM_TARGETS,
    "mla": {"task", "multi_loss"},
    "pcgrad": {
        "task",
        "multi_loss",
        "modality_dropout",
        "modality_shuffle",
        "pseudo_label",
        "fixmatch",
        "mean_teacher",
    },
}
READ_TOKENS = ("data2vec", "wav2vec2")  # of every encoder
PAIRS = [(balance, objective) for balance in NAMES for objective in OBJECTIVES]


def wrap(balance, objective, model, tasks=None):
    tasks = tasks_of(balance) if tasks is None else tasks
    torch.manual_seed(1)
    kwargs = {**OPTIONAL_KWARGS, **get_kwargs(model, tasks)}
    wrapped = instantiate(load_option("objective", objective), "strategy.stages.train.objective", kwargs)
    return instantiate(load_option("balance", balance), "balance", kwargs, objective=wrapped)


def test_the_table_names_objectives_that_exist():
    assert set().union(*ACCEPTED.values()) <= set(OBJECTIVES)


@pytest.mark.parametrize(("balance", "objective"), PAIRS)
def test_a_pair_trains_or_is_refused(balance, objective):
    model, batch = build_learner(balance, all_tokens=objective in READ_TOKENS), build_batch()
    if objective in ACCEPTED.get(balance, OBJECTIVES):
        wrapper = wrap(balance, objective, model)
        for _ in range(2):
            gradients = compute_gradients(wrapper, model, batch)
        assert any(name.startswith("encoder.") for name in gradients)
        assert all(gradient.isfinite().all() for gradient in gradients.values())
        return
    with pytest.raises(ConfigError) as raised:
        wrap(balance, objective, model)
    assert str(raised.value).startswith(f"balance: {balance} ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("balance", "objective", "message"),
    [
        (
            "pcgrad",
            "mixup",
            "balance: pcgrad needs a separate loss for each task (label, age), which MixUp does not return; "
            "choose another balance, or objective task, multi_loss, modality_dropout, modality_shuffle, pseudo_label, "
            "fixmatch or mean_teacher",
        ),
        (
            "gradient_blending",
            "distill",
            "balance: gradient_blending hides the targets of held-out rows, and Distill learns from rows without "
            "targets too; choose another balance, or objective task, multi_loss, mixup, cutmix, modality_dropout, "
            "modality_shuffle, fgm, fgsm or pgd",
        ),
    ],
)
def test_a_refusal_names_what_can_be_combined(balance, objective, message):
    with pytest.raises(ConfigError) as raised:
        wrap(balance, objective, build_model())
    assert str(raised.value) == message


@pytest.mark.parametrize("balance", ["gradient_blending", "lfm_learned"])
@pytest.mark.parametrize("objective", sorted(ACCEPTED["gradient_blending"]))
def test_no_objective_learns_the_label_of_a_held_out_row(objective, balance):
    model, batch = build_model(), build_batch()
    gradients = []
    for _ in range(2):
        model.zero_grad()
        gradients.append(compute_gradients(wrap(balance, objective, model), model, batch))
        batch.targets["label"][0] = (batch.targets["label"][0] + 1) % 3
    assert all_close(*gradients, rtol=0, atol=0)


@pytest.mark.parametrize("objective", ["mixup", "distill", "pgd"])
def test_with_a_single_task_pcgrad_accepts_any_objective(objective):
    model = build_model()
    wrapper = wrap("pcgrad", objective, model, {"label": TASKS["label"]})
    assert compute_gradients(wrapper, model, build_batch())
