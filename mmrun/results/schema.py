"""What the JSON files of a run folder hold, as types: metrics.json, status.json, environment.json.

evaluation.json has its types in `evaluations.py`. Keys are those of the files; docs/metrics.schema.json is the same for
programs that are not written in Python.
"""

from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from mmrun.digests import Digest
from mmrun.models.compress.record import Structure
from mmrun.processes import ProcessId
from mmrun.training.stage_cost import StageCost

Config = dict[str, Any]  # a resolved config, as in config.yaml; its keys depend on the classes that it names

# Costs of a run that can be compared and averaged
CostName = Literal["epochs", "samples", "seconds", "flops", "peak_memory", "trainable_parameters"]

MetricValues = dict[str, float | None]  # by metric: accuracy, accuracy/image for a probe, label.accuracy for a task

BudgetUnit = Literal["epochs", "steps", "samples", "seconds", "flops"]

State = Literal["waiting", "running", "finished", "failed", "interrupted", "killed", "pruned"]  # of a run


class StoredConfig(TypedDict):
    """What every reader of a config.yaml relies on; the other keys depend on the classes that the config names.

    Attributes:
        choices: as in `RunMetrics`.
        encoder: node of each modality.
        budget: by unit; None: not limited by it.
        seed: of the run.
        tag: the user's words for groups of runs; runs of version 0.1.0 have none.
        note: the user's note, unless `mmrun note` replaced it.
    """

    choices: dict[str, str]
    encoder: dict[str, Any]
    budget: dict[str, float | None]
    seed: int
    tag: NotRequired[str | list[str] | None]
    note: NotRequired[str | None]


class StoredStage(TypedDict):
    """What comparisons read of a stage's config: globs over the parameters that it trains."""

    train: list[str]


class StoredStrategy(TypedDict):
    """What comparisons read of a strategy: its stages by name."""

    stages: dict[str, StoredStage]


class StoredTrainer(TypedDict):
    """What comparisons read of a trainer."""

    precision: str


class StoredCallback(TypedDict):
    """What comparisons read of a callback: its class, which may be one that changes no result."""

    _target_: str


class ComparedConfig(TypedDict):
    """What every comparison relies on in the config of a metrics.json.

    Attributes:
        dataset: node of the data set.
        encoder: node of each modality.
        strategy: with the names and parts of its stages.
        trainer: with its precision.
        callbacks: by name; runs of version 0.1.0 have none.
        tag: as in `StoredConfig`, and the next.
    """

    dataset: dict[str, Any]
    encoder: dict[str, Any]
    strategy: StoredStrategy
    trainer: StoredTrainer
    callbacks: NotRequired[dict[str, StoredCallback]]
    tag: NotRequired[str | list[str] | None]
    note: NotRequired[str | None]


class RunSettings(TypedDict):
    """What conditions and columns are read from.

    Attributes:
        choices: as in `RunMetrics`.
        config: the resolved config.
    """

    choices: dict[str, str]
    config: Config


class FittedPart(TypedDict):
    """One array of a decoded row.

    Attributes:
        shape: without the rows.
        dtype: of NumPy.
    """

    shape: list[int]
    dtype: str


class FittedModality(TypedDict):
    """How a modality of new rows is read.

    Attributes:
        kind: one of `types.KINDS`.
        columns: of the user's file; empty: the run was not trained on a file.
        state: of the preprocessor, after `fit`.
        parts: arrays of a decoded row, by name.
    """

    kind: str
    columns: list[str]
    state: dict[str, Any]
    parts: dict[str, FittedPart]


class ClassTokens(TypedDict):
    """Names of classes as a pretrained text tower reads them.

    Attributes:
        class_ids: token ids of each class, special tokens included, without padding.
        prefix_length: special tokens at the beginning.
        pad_id: the token that texts are padded with.
    """

    class_ids: list[list[int]]
    prefix_length: int
    pad_id: int


class FittedTask(TypedDict):
    """How the outputs for a target are understood.

    Attributes:
        kind: classification, ordinal, multilabel or regression.
        arguments: of its class: classes, means ...
        class_tokens: the names of its classes, where the strategy builds the head from them.
    """

    kind: str
    arguments: dict[str, Any]
    class_tokens: NotRequired[ClassTokens]


class FittedRecord(TypedDict):
    """What the training rows decided: all that predicting new rows needs besides the config and the weights.

    Attributes:
        modalities: by name.
        tasks: by name.
        formats: how numbers and dates are written, by column; only of columns that are not plain.
    """

    modalities: dict[str, FittedModality]
    tasks: dict[str, FittedTask]
    formats: dict[str, dict[str, Any]]


class DatasetRecord(TypedDict):
    """The data that a run was trained on.

    Attributes:
        name: of the YAML file in configs/dataset.
        fingerprint: hash of the content, the same on every machine.
        split: hash of which row is in which split.
        rows: number of rows by split.
        labelled: share of the training rows whose label is seen, 0 to 1.
        labelled_rows: number of training rows whose label is seen; older runs did not record it.
        skipped: number of bad rows left out under `dataset.on_error=skip`.
        missing: share of rows without a modality, by modality and split, of those that some rows lack; older runs did
            not record it.
    """

    name: str
    fingerprint: str
    split: str
    rows: dict[str, int]
    labelled: float
    labelled_rows: NotRequired[int]
    skipped: int
    missing: NotRequired[dict[str, dict[str, float]]]


class PresenceMetrics(TypedDict):
    """Metrics of the rows that have the same modalities.

    Attributes:
        present: these modalities.
        rows: number of rows.
        metrics: by name, of the primary head.
    """

    present: list[str]
    rows: int
    metrics: MetricValues


class RunCost(TypedDict):
    """What all stages of a run cost together.

    Attributes:
        epochs: passes over the training rows; a stage that reads one of M modalities counts 1/M.
        steps: optimizer steps.
        samples: training rows read, repeated ones included.
        seconds: of training; evaluation is not counted.
        flops: floating-point operations, forward and backward; a multiply-add counts two.
        peak_memory: bytes of the GPU, or of the process on a CPU.
        trainable_parameters: number of scalars that any stage trained.
        total_parameters: number of scalars of the model.
        stages: the costs of each stage by its name, in order.
    """

    epochs: float
    steps: int
    samples: int
    seconds: float
    flops: float
    peak_memory: int
    trainable_parameters: int
    total_parameters: int
    stages: dict[str, StageCost]


class Footprint(TypedDict):
    """What predicting one row takes on the machine where a run was compressed.

    Attributes:
        parameters: scalars of the model.
        nonzero_parameters: those that are not zero.
        file_size: of the weights, in bytes.
        p50: median time, in seconds.
        p99: 99th percentile of the time, in seconds.
        memory: of the weights and the largest layer's inputs and outputs, in bytes.
    """

    parameters: int
    nonzero_parameters: int
    file_size: int
    p50: float
    p99: float
    memory: int


class Inference(TypedDict):
    """A compressed model beside its original, measured in one process, in turns.

    Attributes:
        device: on which.
        threads: of the CPU.
        original: the run that was compressed.
        compressed: this run.
    """

    device: str
    threads: int
    original: Footprint
    compressed: Footprint


class CompressionStep(TypedDict):
    """One step of making a run smaller.

    Attributes:
        method: prune, prune_filters ...
        amount: a share from 0 to 1, or a number of clusters.
    """

    method: str
    amount: float


class CompressionRecord(TypedDict):
    """What compression.json of a compressed run holds: where it comes from, and the shapes of its model.

    Attributes:
        run: the name of the run that was compressed.
        steps: in their order, those of that run before them where it was compressed itself.
        importance: l1 or taylor: by what filters and heads were chosen.
        finetune_epochs: passes over the training rows afterwards.
        quantization: how layers compute in 8 bits, if they do.
        student: of a student that learned from that run, the overrides in which it differs.
        structure: how the model differs from the one that the config builds.
    """

    run: str
    steps: list[CompressionStep]
    importance: str
    finetune_epochs: float
    quantization: NotRequired[str]
    student: NotRequired[list[str]]
    structure: Structure


class RunMetrics(TypedDict):
    """What metrics.json holds.

    Attributes:
        schema: version of this layout.
        metric_version: increases when a metric would change on the same scores.
        run: name of the run folder.
        seed: of the run.
        choices: the YAML file chosen for each config group: strategy, dataset, fusion, encoder.image ...
        config: the resolved config.
        budget: one entry: its unit and its amount.
        dataset: the data that the run was trained on.
        primary_head: the head whose metrics have plain names, `fused` or `probe.<modality>`; None without predictions.
        metrics: by split, then by metric.
        per_class: by split, task and class or output, then by metric.
        by_presence: by split in which rows differ in their modalities, the metrics of each pattern, the most frequent
            first; older runs have none.
        cost: of training.
        files: digests of the log and the predictions; runs of version 0.1.0 have none.
        inference: of a compressed run, beside its original.
    """

    schema: int
    metric_version: int
    run: str
    seed: int
    choices: dict[str, str]
    config: Config
    budget: dict[str, float]
    dataset: DatasetRecord
    primary_head: str | None
    metrics: dict[str, MetricValues]
    per_class: dict[str, dict[str, dict[str, MetricValues]]]
    by_presence: NotRequired[dict[str, list[PresenceMetrics]]]
    cost: RunCost
    files: NotRequired[dict[str, Digest]]
    inference: NotRequired[Inference]


class RunRecord(RunMetrics):
    """A finished run as comparisons and reports read it: its metrics.json, and where it is.

    Attributes:
        folder: path of the run folder.
    """

    folder: Path


class RunStatus(TypedDict):
    """What status.json holds.

    Attributes:
        status: of the run.
        stage: being trained, or the last that was.
        step: optimizer steps of that stage.
        progress: part of the stage that is done, 0 to 1.
        message: why a run failed.
        heartbeat: when the file was written, in seconds since 1970.
        process: that wrote it.
    """

    status: State
    stage: str | None
    step: int
    progress: float
    message: str | None
    heartbeat: NotRequired[float]
    process: NotRequired[ProcessId]


class Notes(TypedDict):
    """What notes.json holds.

    Attributes:
        note: of the user.
    """

    note: str | None


class GitState(TypedDict):
    """The code of the working directory.

    Attributes:
        commit: 40 hex digits.
        changed: whether files differ from the commit.
    """

    commit: str
    changed: bool


class Environment(TypedDict, total=False):
    """Machine and code of one start of a run, as far as they can change a result.

    environment.json holds this of the first start and, of a run that was resumed, a list of all starts: `starts`.

    Attributes:
        python: its version.
        platform: operating system and architecture.
        versions: of the libraries, None where one is not installed.
        git: None outside a repository.
        device: name of the GPU, or `cpu`.
        threads: that torch uses.
        cpu_capability: instruction set that torch uses.
        batch_size: rows of a batch that the search found, with `trainer.batch_size=auto`.
        time: when the run was started there, in seconds since 1970.
    """

    python: str
    platform: str
    versions: dict[str, str | None]
    git: GitState | None
    device: str
    threads: int
    cpu_capability: str
    batch_size: int
    time: float


class StoredEnvironment(Environment, total=False):
    """What environment.json holds.

    Attributes:
        starts: machine and code of every start of a run that was resumed.
    """

    starts: list[Environment]
