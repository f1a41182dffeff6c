"""New initial weights for what earlier stages have trained, such as a student that learns from its former self."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from mmrun.run import build
from mmrun.run.session import Session
from mmrun.training.stages import Stage


def reinitialize(session: Session, stage: Stage) -> None:
    """Draw new initial weights for a stage's parameters, from a random stream of the stage's own, in place.

    What no earlier stage trained keeps its initial weights, and so does what was fitted to the data. Weights that a
    config loads into an encoder, pretrained or of another run, are loaded again.

    Args:
        session: the run, with the weights that the previous stage left.
        stage: whose trainable parameters start anew.
    """
    names = list(session.stages)
    earlier = names[: names.index(stage.name)]
    trained = frozenset().union(*(session.stages[name].trainable for name in earlier))
    renewed = stage.trainable & trained
    if not renewed:
        return
    stream = f"init/stage/{stage.name}"
    initial = build.build_model(session.config, session.data, stream=stream).state_dict()
    weights = {name: initial[name] for name in renewed}
    session.model.load_state_dict(session.placement.scatter(weights, session.model.state_dict()), strict=False)
    _reset_batch_statistics(session.model, renewed)


def _reset_batch_statistics(model: nn.Module, renewed: frozenset[str]) -> None:
    """Reset the running mean and variance of normalisation layers whose weights are new."""
    for name, module in model.named_modules():
        if isinstance(module, _NormBase) and f"{name}.weight" in renewed:
            module.reset_running_stats()
