"""Classes of other packages: which of them a config may name, and who allows them."""

import sys

import pytest

from mmrun import plugins
from mmrun.cli import main
from mmrun.errors import ConfigError
from mmrun.hydra_internals import UserConfigs
from mmrun.instantiate import instantiate

PRODUCT = '''
"""A fusion of somebody else."""

import torch
from torch import nn

from mmrun.types import Fusion


class Product(Fusion):
    """Multiply the projected vectors of the modalities that are present."""

    def __init__(self, dims, dim=8):
        super().__init__()
        self.dim = dim
        self.project = nn.ModuleDict({name: nn.Linear(width, dim) for name, width in dims.items()})

    def forward(self, features, present):
        product = 1.0
        for name, projection in self.project.items():
            if name in features:
                vector = projection(features[name].pooled)
                product = product * torch.where(present[name][:, None], vector, 1.0)
        return product
'''
NODE = {"_target_": "their_parts.product.Product", "dim": 4}


@pytest.fixture
def their_parts(tmp_path, monkeypatch):
    """A package and a config beside it, in the working folder."""
    (tmp_path / "their_parts").mkdir()
    (tmp_path / "their_parts" / "__init__.py").touch()
    (tmp_path / "their_parts" / "product.py").write_text(PRODUCT)
    (tmp_path / "configs" / "fusion").mkdir(parents=True)
    (tmp_path / "configs" / "fusion" / "product.yaml").write_text(
        "# The product of the modalities\n_target_: their_parts.product.Product\ndim: 4\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugins.VARIABLE, "")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    UserConfigs.folders = []
    for name in [name for name in sys.modules if name.partition(".")[0] == "their_parts"]:
        del sys.modules[name]


def test_class_of_a_package_that_is_not_allowed_is_rejected(their_parts):
    with pytest.raises(ConfigError) as raised:
        instantiate(NODE, "fusion", {"dims": {"a": 2}})
    assert str(raised.value) == (
        "fusion._target_: 'their_parts.product.Product' is not in mmrun.models.fusions; "
        "to use a class of your own, allow its package with --allow PACKAGE"
    )


def test_allowed_package_in_the_working_folder_is_imported(their_parts):
    plugins.allow(["their_parts"])
    assert instantiate(NODE, "fusion", {"dims": {"a": 2}}).dim == 4


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_a_run_trains_with_it_and_options_list_it(their_parts, how, monkeypatch, capsys):
    if how == "variable":
        monkeypatch.setenv(plugins.VARIABLE, "their_parts")
    flag = ["--allow", "their_parts"] if how == "flag" else []
    run = ["dataset=synthetic", "dataset.num_rows=60", "budget.steps=2", "trainer.progress=false", "cache=cache"]
    assert main(["train", "fusion=product", *run, *flag]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert main(["options", "fusion"]) == 0
    assert "product" in capsys.readouterr().out


def test_missing_package(their_parts, capsys):
    assert main(["--allow", "other_parts", "ls"]) == 2
    assert capsys.readouterr().err.startswith("mmrun: --allow other_parts: no such package, neither installed nor in ")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("os.system", "'os.system' is not in mmrun.models.fusions"),
        ("mmrun.compose.import_module", "'mmrun.compose.import_module' is not in mmrun.models.fusions"),
        (
            "mmrun.results.files.write_atomically",
            "'mmrun.results.files.write_atomically' is not in mmrun.models.fusions",
        ),
        ("mmrun.models.fusions.simple.nn", "mmrun.models.fusions.simple.nn is not a class or function defined there"),
        ("mmrun.models.fusions.simple.Tensor", "mmrun.models.fusions.simple.Tensor is not a class or function"),
        ("mmrun.models.encoders.text.Rnn", "'mmrun.models.encoders.text.Rnn' is not in mmrun.models.fusions"),
    ],
)
def test_a_config_names_only_classes_defined_in_the_package_of_their_place(target, reason):
    with pytest.raises(ConfigError) as raised:
        instantiate({"_target_": target, "name": "touch pwned"}, "fusion")
    assert str(raised.value).startswith(f"fusion._target_: {reason}")


def test_changed_code_of_an_allowed_package_changes_the_keys_of_results(their_parts):
    from mmrun.training.reuse import result_key

    keys = [result_key({})]
    plugins.allow(["their_parts"])
    keys.append(result_key({}))
    (their_parts / "their_parts" / "product.py").write_text(PRODUCT + "# changed\n")
    keys.append(result_key({}))
    assert len(set(keys)) == 3


QUANTILE = '''
"""A task of somebody else."""

import numpy as np
import torch

from mmrun.tasks.regression import Regression


class Quantile(Regression):
    """Predict a quantile by the pinball loss."""

    primary_metric = "pinball_loss"

    def __init__(self, name, outputs, mean, std, quantile=0.5):
        super().__init__(name, outputs, mean, std)
        self.quantile = quantile

    def loss(self, output, target):
        target = target.reshape(output.shape)
        error = (target - self.mean) / self.std - output
        pinball = torch.maximum(self.quantile * error, (self.quantile - 1) * error)
        visible = ~target.isnan()
        return pinball.nan_to_num().sum() / visible.sum().clamp(min=1)

    def metrics(self, scores, target):
        target = target.reshape(scores.shape)
        visible = ~np.isnan(target)
        if not visible.any():
            return {}
        error = (target - scores)[visible]
        pinball = np.maximum(self.quantile * error, (self.quantile - 1) * error)
        return {"pinball_loss": float(pinball.mean())}
'''


@pytest.fixture
def their_task(their_parts):
    (their_parts / "their_parts" / "tasks.py").write_text(QUANTILE)
    (their_parts / "configs" / "task").mkdir()
    (their_parts / "configs" / "task" / "quantile.yaml").write_text(
        "# A quantile\n_target_: their_parts.tasks.Quantile\nquantile: 0.9\n"
    )
    rows = [f"{i % 7},{i % 5},{i % 7 + 0.5}" for i in range(80)]
    (their_parts / "prices.csv").write_text("\n".join(["size,age,price", *rows]) + "\n")
    return their_parts


def test_a_task_of_another_package_trains_and_is_compared(their_task, capsys):
    manifest = ["dataset=manifest", "dataset.path=prices.csv", "dataset.target=price", "trainer.progress=false"]
    command = ["train", *manifest, "tasks.price=quantile", "budget.steps=20", "cache=cache", "--allow", "their_parts"]
    assert main(command) == 0, capsys.readouterr().err
    assert main(["compare", "outputs", "--metric", "test/pinball_loss", "--format", "json"]) == 0
    assert '"lower_is_better": true' in capsys.readouterr().out
    assert main([*command, "tasks.prize=quantile"]) == 2
    assert (
        "tasks.prize: the data set has no such target; did you mean 'price'? (it has price)" in capsys.readouterr().err
    )


def test_contract_checks_run_on_a_task_of_another_package(their_task, capsys):
    from mmrun.testing.__main__ import main as run_checks

    assert run_checks(["their_parts.tasks.Quantile", "quantile=0.9", "--allow", "their_parts"]) == 0
    assert capsys.readouterr().out.endswith("4 of 4 checks passed\n")


SOURCE = '''
import numpy as np

from mmrun.data.table import Column, Table, Target


def words(number: int, kinds: dict[str, str]) -> Table:
    """Short texts of two classes."""
    classes = np.arange(number) % 2
    texts = Column("text", [["good day", "bad night"][c] for c in classes])
    split = np.array(["train", "val", "test", "train"] * (number // 4))
    target = Target("classification", classes, ["good", "bad"])
    return Table([str(row) for row in range(number)], {"text": texts}, {"label": target}, split, "words")
'''


def test_a_source_of_another_package_needs_no_keys_of_mmrun(their_parts, capsys):
    (their_parts / "their_parts" / "source.py").write_text(SOURCE)
    (their_parts / "configs" / "dataset").mkdir()
    (their_parts / "configs" / "dataset" / "words.yaml").write_text(
        "# Two classes of words\n_target_: their_parts.source.words\nnumber: 40\nkinds: {text: text}\n"
    )
    command = ["train", "dataset=words", "encoder.text=bow", "budget.steps=2", "trainer.progress=false", "cache=cache"]
    assert main([*command, "--allow", "their_parts"]) == 0, capsys.readouterr().err
