"""What `mmrun eval` left in run folders, evaluation.json: its types, and how reports read it."""

from collections.abc import Iterable
from typing import NotRequired, TypedDict, cast

from mmrun.results.classification import CurvePoints, ReliabilityDiagram, ShownConfusion
from mmrun.results.files import read_json
from mmrun.results.folder import RunFolder
from mmrun.results.schema import RunRecord

SCHEMA = 2  # of evaluation.json; an older one counts as missing
OWN_CEILINGS = "this run, the other modalities absent"  # where no unimodal run gives what each modality reaches alone


class SubsetMetrics(TypedDict):
    """The metrics with some modalities present.

    Attributes:
        present: the modalities that were not left out.
        metrics: by name.
    """

    present: list[str]
    metrics: dict[str, float]


class Synergy(TypedDict):
    """What the fusion gains over the best single modality, in one metric.

    Attributes:
        fused: the metric of the fused model.
        alone: the metric of each modality alone.
        best: the best of these modalities.
        gap: fused less best.
        flagged: whether the fusion gains nothing over several modalities.
        ceilings: where `alone` comes from: the name of a unimodal run, or OWN_CEILINGS.
    """

    fused: float
    alone: dict[str, float]
    best: str
    gap: float
    flagged: bool
    ceilings: str


class ClassEvaluation(TypedDict):
    """What concerns the probabilities and classes of one task.

    Attributes:
        reliability: of the probabilities.
        confusion: absent for a multilabel task.
        curves: by class or label.
    """

    reliability: ReliabilityDiagram
    confusion: NotRequired[ShownConfusion]
    curves: dict[str, CurvePoints]


class NoiseCurve(TypedDict):
    """One metric under one corruption of one modality, by severity.

    Attributes:
        fused: the metric of the fused model.
        alone: the metric of the corrupted modality without the others.
        relative: relative robustness, the mean of `fused` over the severities.
        effective: effective robustness, what is kept beyond what the modality alone keeps.
    """

    fused: list[float]
    alone: list[float]
    relative: float
    effective: float


class ModalityRobustness(TypedDict):
    """One metric under noise in one modality.

    Attributes:
        relative: mean over the corruptions.
        effective: mean over the corruptions.
        curves: by corruption.
    """

    relative: float
    effective: float
    curves: dict[str, NoiseCurve]


class Robustness(TypedDict):
    """The metrics under noise.

    Attributes:
        severities: of the noise, 0 to 1; the points of all curves.
        metrics: by primary metric, then by corrupted modality.
    """

    severities: list[float]
    metrics: dict[str, dict[str, ModalityRobustness]]


class ProbeAccuracy(TypedDict):
    """Validation accuracy of a logistic regression on an encoder's features.

    Attributes:
        before: after the stage that first trained the encoder.
        after: at the end of the run.
    """

    before: float
    after: float


class EncoderDrift(TypedDict):
    """How later stages changed an encoder.

    Attributes:
        after_stage: the stage that first trained it.
        rows: number of validation rows compared.
        cka: similarity of the features before and after; 1: unchanged but for rotation and scale.
        probe: by task.
    """

    after_stage: str
    rows: int
    cka: float
    probe: dict[str, ProbeAccuracy]


class SubgroupMetrics(TypedDict):
    """The metrics of one task by the values of a column.

    Attributes:
        column: its name.
        primary_metric: of the task.
        groups: by value: `rows`, the number of rows, and metrics by name.
        worst: the value with the worst primary metric; None where that is defined nowhere.
    """

    column: str
    primary_metric: str
    groups: dict[str, dict[str, float]]
    worst: str | None


class Evaluation(TypedDict):
    """What evaluation.json holds.

    Attributes:
        schema: version of this layout.
        metric_version: as in metrics.json.
        run: name of the run folder.
        split: that was evaluated.
        rows: number of rows of the split.
        modalities: that the run reads.
        saw_missing: whether training rows lacked a modality.
        primary_metrics: of each task.
        metrics: of the fused model with all modalities.
        constant: metrics of predicting the same for every row.
        missing: by fill policy, the metrics of every subset of the modalities, the smallest first.
        shapley: by primary metric, fill policy and modality.
        synergy: by primary metric.
        classes: by task.
        robustness: with `--all`.
        drift: with `--all`, by modality.
        groups: with `--group`, by task.
    """

    schema: int
    metric_version: int
    run: str
    split: str
    rows: int
    modalities: list[str]
    saw_missing: bool
    primary_metrics: list[str]
    metrics: dict[str, float]
    constant: dict[str, float]
    missing: dict[str, list[SubsetMetrics]]
    shapley: dict[str, dict[str, dict[str, float]]]
    synergy: dict[str, Synergy]
    classes: dict[str, ClassEvaluation]
    robustness: NotRequired[Robustness]
    drift: NotRequired[dict[str, EncoderDrift]]
    groups: NotRequired[dict[str, SubgroupMetrics]]


def read_evaluation(run: RunRecord, split: str) -> Evaluation | None:
    """Read the evaluation of a split of a run.

    Args:
        run: a finished run.
        split: val or test.

    Returns:
        What evaluation.json holds; None where there is none, or one of another split, layout or version of the metrics.
    """
    file = RunFolder(run["folder"]).evaluation_file
    if not file.exists():
        return None
    evaluation = cast(Evaluation, read_json(file))
    current = evaluation["schema"] == SCHEMA and evaluation["metric_version"] == run["metric_version"]
    return evaluation if current and evaluation["split"] == split else None


def find_unevaluated(runs: Iterable[RunRecord], split: str) -> list[RunRecord]:
    """Return the runs with a fused head that were not evaluated on a split, or not under noise.

    Args:
        runs: finished runs.
        split: val or test.
    """
    unevaluated = []
    for run in runs:
        if run["primary_head"] != "fused":
            continue
        evaluation = read_evaluation(run, split)
        if evaluation is None or "robustness" not in evaluation:
            unevaluated.append(run)
    return unevaluated
