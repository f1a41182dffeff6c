"""The contract of every fusion, for each YAML file of configs/fusion and some variants."""

import inspect

import pytest

from mmrun import compose
from mmrun.instantiate import find_target, instantiate
from mmrun.testing import fusions as contract

NAMES = compose.list_options("fusion")
NODES = {name: compose.load_option("fusion", name) for name in NAMES}
CASES = {
    **NODES,
    "bilinear-mlb": {**NODES["bilinear"], "method": "mlb"},
    "cnn-nearest": {**NODES["cnn"], "align": "nearest"},
    "cnn-attention": {**NODES["cnn"], "align": "attention"},
    "cross_attention-rotary": {**NODES["cross_attention"], "positions": "rotary"},
    "late-learned": {**NODES["late"], "weights": "learned"},
}


every = pytest.mark.parametrize("name", CASES)
any_number = pytest.mark.parametrize(("count", "tokens"), [(1, True), (2, False), (4, True)])
with_and_without_tokens = pytest.mark.parametrize("tokens", [True, False], ids=["tokens", "pooled"])


def test_all_fusions_are_listed():
    assert len(NAMES) >= 25
    assert {"concat", "gated", "self_attention", "low_rank", "late", "perceiver"} < set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_yaml_lists_every_argument_at_its_default(name):
    parameters = inspect.signature(find_target(NODES[name], "fusion")).parameters
    defaults = {key: p.default for key, p in parameters.items() if key not in ("dims", "num_outputs", "windows")}
    assert {key: value for key, value in NODES[name].items() if key != "_target_"} == defaults


@pytest.fixture
def make_builder(tiny_model):
    """Return a function that returns how a case is built; a pretrained fusion is a tiny one."""

    def make(name):
        node = {**CASES[name], "model": tiny_model(name)} if "model" in CASES[name] else CASES[name]

        def build(dims):
            return instantiate(node, "fusion", {"dims": dims, "num_outputs": contract.NUM_OUTPUTS})

        return build

    return make


@every
@any_number
@pytest.mark.parametrize("check", [contract.check_shapes_and_gradients, contract.check_missing_modalities])
def test_contract_for_any_number_of_modalities(check, name, count, tokens, make_builder):
    check(make_builder(name), count, tokens)


@every
@with_and_without_tokens
@pytest.mark.parametrize(
    "check", [contract.check_rows_are_independent, contract.check_device_and_type, contract.check_autocast]
)
def test_contract_for_three_modalities(check, name, tokens, make_builder):
    check(make_builder(name), 3, tokens)


@pytest.mark.parametrize("name", ["concat", "cross_attention"])  # all: deploy/test_exported_parts.py, also as ONNX
def test_fusions_are_exported(name, make_builder):
    contract.check_export(make_builder(name), 2, True)
