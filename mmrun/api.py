"""mmrun in Python: open a finished run to predict, embed and evaluate; train a run; compare runs."""

import tempfile
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from html import escape
from pathlib import Path

import numpy as np

from mmrun import compose
from mmrun.cli.terminal import Terminal
from mmrun.deploy.explain.baselines import ImageBaselineName
from mmrun.deploy.explain.explainer import Explainer, Explanations, Method
from mmrun.deploy.explain.target import parse_target
from mmrun.deploy.labelled import NewEvaluation, evaluate_file, evaluate_rows
from mmrun.deploy.outputs import build_columns
from mmrun.deploy.predictor import Predictor, Rows, open_predictor
from mmrun.deploy.records import list_records, read_labelled_records, read_records
from mmrun.deploy.rows import read_rows
from mmrun.deploy.share import SCHEME, parse_address, pull
from mmrun.errors import ConfigError
from mmrun.results import comparison_tables, formats, records, selection
from mmrun.results.compare import Comparison, Question
from mmrun.results.compare import compare as compare_groups
from mmrun.results.environment import find_differing_environments
from mmrun.results.folder import RunFolder
from mmrun.results.index import resolve
from mmrun.results.schema import Config, RunMetrics
from mmrun.results.table import Table
from mmrun.run import pipeline
from mmrun.run.early_checks import check_early
from mmrun.training.callback import NullCallback

Row = dict[str, object]


class Run:
    """A finished run. Its training data is not needed.

    Rows are a file (CSV, JSON Lines or Parquet), a data frame of pandas or polars, or a list of dicts. Their columns
    are those of the training file, or the names of the modalities. In memory, an image may also be a Pillow image or
    an array ([H, W], [H, W, C] or [C, H, W]), a sound `(samples, rate)`, and a series an array; strings are file names
    for images and sounds, relative to the working folder. A cell that is absent, None or NaN is a missing modality.

    Args:
        folder: of the run.

    Attributes:
        path: of the folder.
        name: of the run.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.path, self.name = folder.path, folder.name

    def __repr__(self) -> str:
        return f"<mmrun.Run {self.path}>"

    @property
    def config(self) -> Config:
        """The resolved config."""
        return self._folder.read_config()

    @property
    def metrics(self) -> RunMetrics:
        """What metrics.json holds: metrics by split, cost, choices."""
        return self._folder.read_metrics()

    @cached_property
    def _predictor(self) -> Predictor:
        return open_predictor(self._folder, NullCallback())

    def predict(self, rows: object) -> list[Row]:
        """Predict rows, in their order.

        Args:
            rows: see the class.

        Returns:
            A dict for each row: `id`; for each target its prediction, and the probability of each class as `label=cat`.

        Raises:
            ConfigError: the rows have none of the columns that the run reads.
            DataError: a cell cannot be read.
        """
        predicted: list[Row] = []
        with _read(self._predictor, rows) as readable:
            for block in self._predictor.predict(readable):
                columns = build_columns(self._predictor.tasks, readable.ids, block)
                predicted += [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        return predicted

    def embed(self, rows: object) -> np.ndarray:
        """Return the fused vector of each row; that of the encoder where the run's head is a probe.

        Args:
            rows: see the class.

        Returns:
            [N, D] float32.

        Raises:
            ConfigError, DataError: as `predict`.
        """
        with _read(self._predictor, rows) as readable:
            blocks = [block.embeddings for block in self._predictor.predict(readable)]
            return np.concatenate(blocks) if blocks else np.zeros((0, self._predictor.embedding_dim), np.float32)

    def explain(
        self,
        rows: object,
        target: str | None = None,
        method: Method = "integrated_gradients",
        image_baseline: ImageBaselineName = "mean",
    ) -> Explanations:
        """Explain the predictions for rows: what each modality contributes, and which of its parts matter.

        Args:
            rows: see the class; all of them are explained, so pass those of interest.
            target: TARGET, or TARGET=OUTPUT to explain a class, label or number other than the predicted one; None:
                the first target.
            method: integrated_gradients, or occlusion, which also replaces it where no gradient passes.
            image_baseline: what pixels are compared with: the mean colour of the picture, black, or a blurred picture.

        Returns:
            Shapley values of the modalities [N], and per row the saliency inside each of them.

        Raises:
            ConfigError: there is no such target, or as `predict`.
            DataError: as `predict`.
        """
        explained = parse_target(self._predictor.tasks, target)
        explainer = Explainer(self._predictor, explained, method, image_baseline)
        with _read(self._predictor, rows) as readable:
            return explainer.explain(readable)

    def evaluate(self, rows: object) -> NewEvaluation:
        """Compute all metrics on other labelled rows, as `mmrun eval --data` does.

        Args:
            rows: see the class; with at least one target.

        Raises:
            ConfigError: the rows have none of the targets or modalities.
            DataError: a cell cannot be read.
        """
        if isinstance(rows, str | Path):
            return evaluate_file(self._predictor, Path(rows))
        with tempfile.TemporaryDirectory(prefix="mmrun-") as scratch:
            labelled = read_labelled_records(self._predictor, list_records(rows), Path(scratch))
            return evaluate_rows(self._predictor, labelled, "rows")


@contextmanager
def _read(predictor: Predictor, rows: object) -> Iterator[Rows]:
    if isinstance(rows, str | Path):
        yield read_rows(predictor, Path(rows)).rows
        return
    with tempfile.TemporaryDirectory(prefix="mmrun-") as scratch:
        yield read_records(predictor, list_records(rows), Path(scratch))


class ComparisonTable:
    """A comparison of groups of runs; a notebook shows it as a table.

    Attributes:
        records: a dict for each group, with everything that `mmrun compare --format csv` prints.
        notices: what to know before trusting it, one line each.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.records = records.to_records(comparison)
        self.notices = comparison_tables.collect_notices(comparison)
        self._tables = comparison_tables.build_tables(comparison)

    def __repr__(self) -> str:
        return "\n\n".join([*map(formats.to_markdown, self._tables), *(f"Note: {line}" for line in self.notices)])

    def _repr_html_(self) -> str:
        notices = "".join(f"<p>Note: {escape(line)}</p>" for line in self.notices)
        return "".join(map(_to_html, self._tables)) + notices


def _to_html(table: Table) -> str:
    header = "".join(f"<th>{escape(name)}</th>" for name in table.header)
    rows = ""
    for row in table.rows:
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row)
        rows += f"<tr>{cells}</tr>"
    caption = f"<caption>{escape(table.caption)}</caption>"
    return f"<table>{caption}<thead><tr>{header}</tr></thead><tbody>{rows}</tbody></table>"


def load(run: str | Path) -> Run:
    """Open a finished run.

    Args:
        run: its folder, the beginning of the name or hash of a run below `outputs`, or `hf://USER/NAME[@REVISION]`,
            which `mmrun push` uploaded: its files are checked, and its folder lasts as long as the returned run.

    Raises:
        ConfigError: there is no such run, it is not finished, or the hub cannot be reached and has not been before.
        DamagedError: a downloaded file is not what was uploaded.
    """
    if str(run).startswith(SCHEME):
        scratch = tempfile.TemporaryDirectory(prefix="mmrun-")
        pulled = Run(pull(parse_address(str(run)), Path(scratch.name))[0])
        weakref.finalize(pulled, scratch.cleanup)
        return pulled
    folder = resolve(str(run))
    if not folder.finished:
        raise ConfigError(f"{folder.path}: this run is not finished; mmrun resume {folder.path}")
    return Run(folder)


def train(*overrides: str, rerun: bool = False, progress: bool = False) -> Run:
    """Train a run as `mmrun train` does: a finished one is returned, an interrupted one is resumed.

    Args:
        overrides: "strategy=component", "budget.epochs=5" ...
        rerun: repeat a finished run.
        progress: print a line per evaluation, and messages about the data, on stderr.

    Returns:
        The finished run.

    Raises:
        ConfigError, DataError: the run cannot start.
        RunError: training failed.
    """
    config = compose.load(list(overrides))
    check_early(config)
    if not progress:
        return Run(pipeline.run(config, NullCallback(), overrides, rerun))
    with Terminal.for_run(config) as terminal:
        return Run(pipeline.run(config, terminal, overrides, rerun))


def compare(
    *folders: str | Path,
    by: str | Sequence[str] = "strategy",
    metric: str = "test/accuracy",
    against: str | None = None,
    paired: str | Sequence[str] = (),
    where: Sequence[str] = (),
) -> ComparisonTable:
    """Compare groups of finished runs, as `mmrun compare` does, with its default statistics.

    Args:
        folders: searched for runs; none: `outputs`.
        by: key or keys of the config that make the groups.
        metric: SPLIT/NAME.
        against: the baseline, a value of `by`.
        paired: keys by which each run is paired with one of the baseline: "seed".
        where: conditions, "dataset.labelled=0.1".

    Raises:
        ConfigError: no run fits.
    """
    runs, notices = selection.read_finished([Path(folder) for folder in folders or ("outputs",)])
    runs, keys, separation = selection.separate_compressed(selection.filter_runs(runs, where), _split(by))
    question = Question(metric=metric, by=keys, against=against, paired=_split(paired))
    notices += [*separation, *find_differing_environments(runs)]
    return ComparisonTable(compare_groups(runs, question, notices))


def _split(keys: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(keys.split(",")) if isinstance(keys, str) else tuple(keys)
