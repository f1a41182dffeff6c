"""The contents of evaluation.json, which `mmrun eval` writes and reports read. See docs/evaluation.md."""

from typing import NotRequired, TypedDict


class SubsetMetrics(TypedDict):
    """Metrics where only a subset of the modalities is intact.

    Attributes:
        present: the intact modalities, in the order of the run.
        metrics: by name.
    """

    present: list[str]
    metrics: dict[str, float]


class Synergy(TypedDict):
    """What the fusion gains over the best single modality, in the unit of one primary metric.

    Attributes:
        fused: the value of the fused model.
        alone: the value of each modality alone.
        best: the modality with the highest of these.
        gap: `fused` less the value of the best modality.
        flagged: whether several modalities are fused and the gap is not above 0.
        ceilings: where `alone` comes from: the name of a unimodal run, or a phrase.
    """

    fused: float
    alone: dict[str, float]
    best: str
    gap: float
    flagged: bool
    ceilings: str


class Reliability(TypedDict):
    """A reliability diagram; every list has one entry per bin of confidence.

    Attributes:
        upper: upper limit of the bin.
        count: rows in the bin.
        confidence: their mean confidence; None where the bin is empty.
        accuracy: the share of them that is predicted correctly; None where the bin is empty.
    """

    upper: list[float]
    count: list[int]
    confidence: list[float | None]
    accuracy: list[float | None]


class Confusion(TypedDict):
    """A confusion matrix of the classes with the most rows.

    Attributes:
        classes: their names [C].
        counts: [C, C]; rows are true classes, columns predicted ones.
    """

    classes: list[str]
    counts: list[list[int]]


class CurvePoints(TypedDict):
    """Points of the ROC curve (rates) and of the precision-recall curve of one class against all others."""

    false_positive_rate: list[float]
    true_positive_rate: list[float]
    recall: list[float]
    precision: list[float]


class ClassEvaluation(TypedDict):
    """Calibration and errors of a task that has classes or labels.

    Attributes:
        reliability: of the predicted class, or of all labels together.
        confusion: of a classification; labels have none.
        curves: by class or label.
    """

    reliability: Reliability
    confusion: NotRequired[Confusion]
    curves: dict[str, CurvePoints]


class NoiseCurve(TypedDict):
    """One metric under one corruption of one modality; both lists have one value per severity.

    Attributes:
        fused: the other modalities are clean.
        alone: the other modalities are absent.
        relative: relative robustness.
        effective: effective robustness.
    """

    fused: list[float]
    alone: list[float]
    relative: float
    effective: float


class ModalityRobustness(TypedDict):
    """Robustness of one metric to corruptions of one modality.

    Attributes:
        relative: mean relative robustness over the corruptions.
        effective: mean effective robustness over the corruptions.
        curves: by corruption.
    """

    relative: float
    effective: float
    curves: dict[str, NoiseCurve]


class Robustness(TypedDict):
    """Robustness of the primary metrics.

    Attributes:
        severities: of the points of every curve.
        metrics: by primary metric, then by modality.
    """

    severities: list[float]
    metrics: dict[str, dict[str, ModalityRobustness]]


class ProbeAccuracy(TypedDict):
    """Validation accuracy of a linear probe on the features of an encoder, at two times of a run.

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
        rows: validation rows compared.
        cka: linear CKA of the features before and after; 1 if their geometry is unchanged.
        probe: by classification task.
    """

    after_stage: str
    rows: int
    cka: float
    probe: dict[str, ProbeAccuracy]


class SubgroupMetrics(TypedDict):
    """Metrics of one task by the values of a column of the user's file.

    Attributes:
        column: its name.
        primary_metric: of the task.
        groups: by value of the column, the most frequent first: its number of `rows`, and its metrics.
        worst: the value with the worst primary metric; None where no value has it.
    """

    column: str
    primary_metric: str
    groups: dict[str, dict[str, float]]
    worst: str | None


class Evaluation(TypedDict):
    """The contents of evaluation.json.

    Attributes:
        schema: version of this layout.
        metric_version: version of the definitions of metrics.
        run: name of the run.
        split: the rows evaluated, val or test.
        rows: their number.
        modalities: of the run, in order.
        saw_missing: whether training had rows without one of the modalities.
        primary_metrics: one per task, by its name in `metrics`.
        metrics: of the fused model on complete input.
        constant: metrics of a constant prediction.
        missing: by fill policy, smallest subsets first.
        shapley: Shapley values by primary metric, fill policy and modality.
        synergy: by primary metric.
        classes: by task that has classes or labels.
        robustness: only with `mmrun eval --all`.
        drift: by modality, only with `mmrun eval --all`; empty where no encoder was trained before the last stage.
        groups: by task, only with `mmrun eval --group`.
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
