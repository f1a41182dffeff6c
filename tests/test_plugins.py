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
    run = ["modalities=[image,text]", "encoder.image=lenet", "budget.steps=2", "trainer.progress=false", "cache=cache"]
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
