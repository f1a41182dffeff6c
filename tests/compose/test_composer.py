"""The runs of a sweep are composed together, and each is what it would be alone."""

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from mmrun import compose, hydra_internals
from mmrun.compose import composer
from mmrun.compose.rewriting import rewrite
from mmrun.config import config_dir
from mmrun.errors import ConfigError

FILES = {
    "optimizer/linked.yaml": "_target_: torch.optim.SGD\nlr: 0.1\nmomentum: ${.lr}\n",
    "optimizer/copied.yaml": "_target_: torch.optim.SGD\nlr: 0.1\nweight_decay: ${fusion.dropout}\n",
    "optimizer/nested.yaml": "_target_: torch.optim.SGD\nlr: ${.${note}}\nmomentum: 0.5\n",
}

SWEEPS = {
    "numbers": ["strategy=component", "optimizer.lr=1e-3,2e-3", "seed=range(2)", "trainer.batch_size=16,32"],
    "choices": ["strategy=scratch,frozen", "fusion=concat,gated", "encoder.image=cnn,lenet", "fusion.dim=8,16"],
    "added and removed keys": [
        "+optimizer.amsgrad=true,false",
        "~optimizer.eps",
        "seed=0,1",
        "++optimizer.lr=1e-3,1e-2",
    ],
    "a mapping": ["strategy.stages.train={lr: 0.1}", "strategy.stages.train.lr=0.2,0.3", "seed=0,1"],
    "a key given twice": ["seed=5", "seed=5,6"],
    "labels": ["dataset.labelled=0.5,1", "seed=0,1"],
    "values of other types": [
        "optimizer.betas=[0.9,0.99],[0.8,0.9]",
        "trainer.compile=false,auto",
        "budget.steps=null,3",
    ],
    "keys of stages and modalities": [
        "strategy.stages.train.lr=0.1,0.2",
        "encoder.text.dim=8,16",
        "augment=none,light",
    ],
    "modalities": ["modalities=[image],[image,text]", "seed=0,1"],
    "an interpolation of a swept key": ["optimizer=linked", "optimizer.lr=0.25,0.5", "seed=0,1"],
    "an interpolation of another node": ["optimizer=copied", "fusion.dropout=0.25,0.5", "optimizer.lr=0.1,0.2"],
    "an interpolation in another": ["optimizer=nested", "note=momentum", "optimizer.momentum=0.25,0.5"],
    "an interpolation that is typed": ["optimizer.eps=${optimizer.lr}", "optimizer.lr=0.25,0.5", "seed=0,1"],
}


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.setattr(hydra_internals.UserConfigs, "folders", [tmp_path])


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_the_runs_of_a_sweep_are_composed_as_hydra_composes_each(sweep):
    together = compose.Composer()
    for overrides in compose.expand_sweep(sweep):
        rewritten, modalities = rewrite(overrides)
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            expected = OmegaConf.to_container(hydra_compose("train", overrides=rewritten), resolve=True)
        assert together.compose(overrides).values == {**expected, "modalities": modalities}


@pytest.mark.parametrize("sweep", SWEEPS.values(), ids=SWEEPS)
def test_the_runs_of_a_sweep_have_the_config_that_each_has_alone(sweep):
    together = compose.Composer()
    for overrides in compose.expand_sweep(sweep):
        assert together.load(overrides) == compose.load(overrides)


def count_compositions(monkeypatch, sweep):
    calls = []
    compose_alone = composer._compose
    monkeypatch.setattr(composer, "_compose", lambda overrides: calls.append(overrides) or compose_alone(overrides))
    together = compose.Composer()
    for overrides in compose.expand_sweep(sweep):
        together.load(overrides)
    return len(calls)


@pytest.mark.parametrize(
    ("sweep", "count"),
    [
        (["seed=range(20)", "optimizer.lr=1e-3,2e-3", "dataset.labelled=0.5,1"], 1),
        (["seed=range(5)", "strategy=scratch,component", "fusion=sum,concat"], 4),
        (["optimizer=linked", "optimizer.lr=0.25,0.5,0.75", "seed=range(5)"], 1 + 3),
    ],
)
def test_each_combination_of_choices_is_composed_once(monkeypatch, sweep, count):
    assert count_compositions(monkeypatch, sweep) == count


def test_runs_that_share_a_composition_do_not_share_values():
    together = compose.Composer()
    first, second = together.load(["fusion.dim=8"]), together.load(["fusion.dim=16"])
    first.encoder["image"]["preprocess"]["size"] = 3
    assert (first.fusion["dim"], second.fusion["dim"]) == (8, 16)
    assert together.load(["fusion.dim=16"]) == second == compose.load(["fusion.dim=16"])


def test_a_number_that_does_not_fit_is_rejected_as_alone():
    together = compose.Composer()
    together.load(["optimizer.lr=0.1"])
    with pytest.raises(ConfigError, match=r"^optimizer.lr: -1 is not a number above 0$"):
        together.load(["optimizer.lr=-1"])
