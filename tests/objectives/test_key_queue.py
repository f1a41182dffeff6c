"""A queue of keys: which it holds, in which order, and what the engine takes back."""

import torch

from mmrun.objectives.key_queue import KeyQueue, queue_cross_entropy
from mmrun.objectives.step_state import StepState

YES = torch.tensor([True])


def read(queue):
    """Return the keys from the oldest to the newest, as numbers."""
    return queue.keys[:, 0].roll(-int(queue.position)).tolist()


def build(*numbers):
    queue = KeyQueue(len(numbers), 1)
    queue.keys.copy_(torch.tensor([[number] for number in numbers]))
    return queue


def add(queue, *numbers):
    queue.add(torch.tensor([[number] for number in numbers]), torch.ones(len(numbers), dtype=torch.bool))


def test_new_keys_replace_the_oldest_after_the_step():
    queue = build(1.0, 2.0, 3.0)
    add(queue, 4.0)
    add(queue, 5.0)
    assert read(queue) == [1.0, 2.0, 3.0]
    queue.update()
    assert read(queue) == [3.0, 4.0, 5.0]
    add(queue, 6.0)
    queue.update()
    assert read(queue) == [4.0, 5.0, 6.0]


def test_of_more_keys_than_fit_the_last_stay():
    for sizes in ([5], [2, 3], [4, 1], [1, 1, 1, 1, 1]):
        queue = build(0.0, 0.0, 0.0)
        numbers = iter([1.0, 2.0, 3.0, 4.0, 5.0])
        for size in sizes:
            add(queue, *(next(numbers) for _ in range(size)))
        queue.update()
        assert sorted(queue.keys[:, 0].tolist()) == [3.0, 4.0, 5.0]


def test_a_step_without_keys_changes_nothing():
    queue = build(1.0, 2.0)
    queue.update()
    assert read(queue) == [1.0, 2.0]


def test_the_key_of_an_absent_row_is_no_negative():
    queue = build(1.0, 1.0)
    queue.add(torch.tensor([[1.0], [1.0]]), torch.tensor([True, False]))
    queue.update()
    loss = queue_cross_entropy(torch.tensor([[1.0]]), torch.tensor([[1.0]]), queue, 5.0)
    torch.testing.assert_close(loss, torch.tensor([2.0]).log())


def test_it_goes_on_from_a_checkpoint_to_the_bit():
    torch.manual_seed(0)
    queue, resumed = KeyQueue(5, 2), KeyQueue(5, 2)
    for step in range(4):
        queue.add(torch.randn(3, 2), torch.rand(3) < 0.5)
        queue.update()
        if step == 1:
            resumed.load_state_dict(queue.state_dict())
        if step > 1:
            resumed.add(queue.incoming.keys[:3].clone(), queue.incoming.usable[:3].clone())
            resumed.update()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in queue.state_dict().items())


def test_what_a_repeated_step_collected_is_taken_back():
    queue = build(1.0, 2.0)
    states = [module for module in queue.modules() if isinstance(module, StepState)]
    saved = [buffer.clone() for module in states for buffer in module.buffers()]
    add(queue, 3.0)
    for buffer, value in zip((buffer for module in states for buffer in module.buffers()), saved, strict=True):
        buffer.copy_(value)
    queue.update()
    assert read(queue) == [1.0, 2.0]
