"""What a stage monitors on the validation rows."""

from mmrun.head import Head
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Session
from mmrun.run.stage_checkpoints import StageCheckpoints
from mmrun.seeding import named_seed
from mmrun.training import engine
from mmrun.training.built_stage import BuiltStage

Validation = tuple[float, dict[str, float]]  # the monitored value, and all losses or metrics


class LossValidation:
    """Monitors the objective's loss.

    Args:
        session: the run.
        built: the stage.
        checkpoints: which give the model the weights that count.
    """

    def __init__(self, session: Session, built: BuiltStage, checkpoints: StageCheckpoints) -> None:
        self.session, self.built, self.checkpoints = session, built, checkpoints

    def __call__(self) -> Validation:
        """Return the loss, and its parts."""
        session = self.session
        batches = session.eval_loader("val", self.built.stage.modalities)
        seed = named_seed(session.config.seed, "evaluation")
        with self.checkpoints.final_weights():
            losses = engine.mean_losses(self.built.prepared, batches, session.accelerator, seed)
        return losses["loss"], losses


class MetricValidation:
    """Monitors the mean of some metrics of the heads that the stage trains.

    Args:
        session: the run.
        built: the stage; its `heads` are evaluated.
        checkpoints: which give the model the weights that count.
        names: of the metrics.
    """

    def __init__(self, session: Session, built: BuiltStage, checkpoints: StageCheckpoints, names: list[str]) -> None:
        self.session, self.built, self.checkpoints, self.names = session, built, checkpoints, names

    def __call__(self) -> Validation:
        """Return the mean, and the quick metrics; all of them where another one is monitored or requested."""
        session = self.session
        batches = session.ordered("val", self.built.stage.modalities)
        with self.checkpoints.final_weights():
            outputs, targets, _ = engine.predict(session.model, self.built.heads, batches, session.accelerator)
        metrics = run_metrics.compute_metrics(session, outputs, targets, quick=True)
        if not metrics.keys() >= {*self.names, *session.callback.requested_metrics}:
            metrics = run_metrics.compute_metrics(session, outputs, targets)
        return run_metrics.monitored_value(metrics, self.names, self.built.stage.key_path), metrics


def monitored_metrics(session: Session, monitor: str, heads: list[Head]) -> list[str]:
    """Return the names of the metrics that a stage monitors; none where it monitors the loss.

    Args:
        session: the run.
        monitor: the stage's key: loss, primary_metric or a metric: f1_macro, accuracy/image.
        heads: that the stage trains.
    """
    if monitor == "loss":
        return []
    return run_metrics.primary_metrics(session, heads) if monitor == "primary_metric" else [monitor]
