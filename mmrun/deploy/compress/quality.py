"""How well a compressed model predicts the validation rows: the test rows are kept for the run that is written."""

from typing import NamedTuple

from mmrun.deploy.compress.source import Source
from mmrun.models.multimodal import Multimodal
from mmrun.run import metrics as run_metrics
from mmrun.run.session import Session
from mmrun.training import engine


class Quality(NamedTuple):
    """The primary metric of a model.

    Attributes:
        metric: its name.
        value: on the validation rows.
    """

    metric: str
    value: float

    def measure_drop(self, after: "Quality") -> float:
        """Return by how much another model is worse; below 0 if it is better."""
        sign = 1 if run_metrics.higher_is_better(self.metric) else -1
        return round(sign * (self.value - after.value), 9)  # 0.83 - 0.82 is 0.01


def measure_quality(source: Source, session: Session, model: Multimodal) -> Quality:
    """Evaluate a model on the validation rows.

    Args:
        source: the run that it was compressed from.
        session: the data of that run.
        model: to evaluate.
    """
    metric = run_metrics.primary_metrics(session, [source.head])[0]  # of the first task
    batches = session.ordered("val", session.columns)
    outputs, targets, _ = engine.predict(model.eval(), [source.head], batches, session.accelerator)
    return Quality(metric, run_metrics.compute_metrics(session, outputs, targets)[metric])
