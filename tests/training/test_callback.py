"""Several callbacks are one."""

import inspect

from mmrun.training.callback import Callback, CallbackList

HOOKS = [name for name, _ in inspect.getmembers(Callback, inspect.isfunction) if name.startswith("on_")]


def test_every_hook_is_passed_on_in_order():
    calls = []

    class Recorder(Callback):
        def __init__(self, name):
            for hook in HOOKS:
                setattr(self, hook, lambda *arguments, hook=hook: calls.append((name, hook, *arguments)))

    callbacks = CallbackList([Recorder("first"), Recorder("second")])
    for hook in HOOKS:
        arguments = range(len(inspect.signature(getattr(callbacks, hook)).parameters))
        getattr(callbacks, hook)(*arguments)
    assert [call[:2] for call in calls] == [(name, hook) for hook in HOOKS for name in ("first", "second")]


def test_a_callback_sees_the_metrics_that_an_earlier_one_added():
    class Adds(Callback):
        def on_evaluate_end(self, state, metrics):
            metrics["extra"] = len(metrics)

    metrics = {"val/loss": 1.0}
    CallbackList([Adds(), Adds()]).on_evaluate_end(None, metrics)
    assert metrics == {"val/loss": 1.0, "extra": 2}
