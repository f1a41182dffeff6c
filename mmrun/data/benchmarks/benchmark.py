"""What is known of a benchmark: where it comes from, under which licence, and what a run reads and predicts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmrun.data.benchmarks.source import Source

Row = dict[str, object]  # cells by column; None: missing. All rows have the same columns


@dataclass(frozen=True)
class Modality:
    """An input of the recommended run.

    Attributes:
        kind: image, text, audio or tabular.
        columns: of the manifest; () stands for one that is called like the modality.
    """

    kind: str
    columns: Sequence[str] = ()


@dataclass(frozen=True)
class Benchmark:
    """Facts about a benchmark, and how its folder is read.

    Attributes:
        title: as its authors write it.
        paper: authors and year.
        url: where to get it.
        size: what is in it, and how large it is.
        license: under which it may be used.
        layout: files and folders that the reader expects, relative to the source.
        modalities: by name.
        target: column to predict.
        task: classification, multilabel or regression.
        group: column whose equal values stay in one split; None: rows are independent.
        split: which rows are train, val and test.
        metric: that papers report.
        num_rows: of the official release.
        read_rows: yields the rows of a folder.
        caution: what to know before trusting a result.
        suffix: of the manifest: .parquet where images lie in its cells.
    """

    title: str
    paper: str
    url: str
    size: str
    license: str
    layout: Sequence[str]
    modalities: Mapping[str, Modality]
    target: str
    task: str
    group: str | None
    split: str
    metric: str
    num_rows: int
    read_rows: Callable[[Source], Iterator[Row]]
    caution: str = ""
    suffix: str = ".csv"

    def list_columns(self, modality: str) -> list[str]:
        """Return the columns of a modality.

        Args:
            modality: its name.
        """
        return list(self.modalities[modality].columns) or [modality]
