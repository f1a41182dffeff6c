import pytest
import torch
from torch import nn

from mmrun.errors import DamagedError, RunError, StorageError
from mmrun.training import checkpoint
from tests.damage import DAMAGES, damage

CPU = torch.device("cpu")


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.eye(2, dtype=torch.bfloat16)}
    checkpoint.save(tmp_path / "last", {"model": tensors}, {"step": 3})
    state, model = checkpoint.load(tmp_path / "last", "model")
    assert state == {"step": 3}
    assert all(torch.equal(model[name], tensors[name]) for name in tensors)


def test_tied_weights_are_written_twice_and_not_refused(tmp_path):
    weight = torch.ones(2)
    checkpoint.save(tmp_path / "last", {"model": {"a": weight, "b": weight}}, {})
    _, model = checkpoint.load(tmp_path / "last", "model")
    assert model["b"].tolist() == [1.0, 1.0]


def test_a_new_checkpoint_takes_the_place_of_the_old_one_at_once(tmp_path):
    for step in range(3):
        checkpoint.save(tmp_path / "last", {}, {"step": step})
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert checkpoint.load(tmp_path / "last") == ({"step": 2},)


def test_a_kill_between_the_renames_loses_nothing(tmp_path):
    checkpoint.save(tmp_path / "last", {}, {"step": 1})
    (tmp_path / "last").rename(tmp_path / "last.old")
    assert checkpoint.exists(tmp_path / "last")
    assert checkpoint.load(tmp_path / "last") == ({"step": 1},)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "digests.json"])
@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_checkpoint_is_refused(tmp_path, name, how):
    folder = tmp_path / "last"
    checkpoint.save(folder, {"model": {"a": torch.ones(8)}}, {"step": 1, "note": "0123456789"})
    damage(folder / name, how)
    for read in (lambda: checkpoint.load(folder, "model"), lambda: checkpoint.verify(folder)):
        with pytest.raises(
            DamagedError, match=r"last: damaged checkpoint|last/.*: (damaged|cannot be read|no such file)"
        ) as raised:
            read()
        assert "\n" not in str(raised.value)
        assert raised.value.exit_code == 1


def test_a_part_that_is_not_read_is_checked_by_verify_alone(tmp_path):
    folder = tmp_path / "last"
    checkpoint.save(folder, {"model": {"a": torch.ones(8)}, "objective": {"b": torch.ones(8)}}, {"step": 1})
    damage(folder / "objective.safetensors", "flipped")
    assert checkpoint.load(folder, "model")[0] == {"step": 1}
    with pytest.raises(DamagedError, match=r"objective\.safetensors: damaged, its bytes changed"):
        checkpoint.verify(folder)


def test_the_checkpoint_before_a_damaged_one_takes_its_place(tmp_path):
    folder = tmp_path / "last"
    for step in range(3):
        checkpoint.save(folder, {}, {"step": step}, keep_previous=True)
    assert checkpoint.remove(folder)
    assert checkpoint.load(folder) == ({"step": 1},)
    assert not checkpoint.remove(folder)


def test_a_full_disk_leaves_the_checkpoint_that_was_there(tmp_path, small_disk):
    folder = tmp_path / "last"
    checkpoint.save(folder, {"model": {"a": torch.ones(8)}}, {"step": 1})
    small_disk(10_000)
    with pytest.raises(StorageError, match=r"last: cannot be written \(.*File too large"):
        checkpoint.save(folder, {"model": {"a": torch.ones(8000)}}, {"step": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert checkpoint.load(folder, "model")[0] == {"step": 1}


def test_weights_of_another_model_are_refused(tmp_path):
    with pytest.raises(RunError, match=r"do not fit this model: .*size mismatch for weight"):
        checkpoint.load_weights(nn.Linear(2, 2), nn.Linear(3, 2).state_dict(), tmp_path)


@pytest.mark.parametrize("make", [torch.optim.AdamW, lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)])
def test_an_optimizer_goes_on_as_if_it_had_never_stopped(tmp_path, make):
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = make(model.parameters())
    x = torch.randn(8, 4)

    def step():
        model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    tensors, rest = checkpoint.optimizer_state(optimizer)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    checkpoint.save(tmp_path / "last", {"optimizer": tensors, "random": checkpoint.random_state(CPU)}, {"rest": rest})
    drawn = torch.randn(3)
    step()
    expected = model.weight.clone()

    model.load_state_dict(weights)
    optimizer = make(model.parameters())
    state, tensors, random = checkpoint.load(tmp_path / "last", "optimizer", "random")
    checkpoint.restore_optimizer(optimizer, tensors, state["rest"])
    checkpoint.restore_random(random, CPU)
    assert torch.equal(torch.randn(3), drawn)
    step()
    assert torch.equal(model.weight, expected)


def test_a_run_on_a_cpu_saves_the_random_state_of_the_cpu_alone_and_ignores_that_of_a_gpu():
    saved = checkpoint.random_state(CPU)
    assert list(saved) == ["cpu"]
    drawn = torch.rand(3)
    checkpoint.restore_random({**saved, "cuda": torch.zeros(16, dtype=torch.uint8)}, CPU)
    assert torch.rand(3).equal(drawn)


def test_the_state_of_an_optimizer_with_other_groups_is_refused():
    layer = nn.Linear(2, 2)
    saved = checkpoint.optimizer_state(torch.optim.SGD(layer.parameters(), lr=0.1))
    groups = [{"params": [layer.weight]}, {"params": [layer.bias], "weight_decay": 0.0}]
    with pytest.raises(RunError, match=r"saved by another version of mmrun, .*; --rerun trains the run anew$"):
        checkpoint.restore_optimizer(torch.optim.SGD(groups, lr=0.1), *saved)
