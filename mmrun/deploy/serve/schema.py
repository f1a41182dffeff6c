"""What a served run reads and predicts."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mmrun.data.preprocess.items import Items
from mmrun.data.preprocess.tabular import Cells
from mmrun.deploy.rows import RowSpec, name_columns

if TYPE_CHECKING:
    from mmrun.types import Preprocessor  # which imports torch

MAX_CATEGORIES = 1000  # of a column that are listed


@dataclass(frozen=True)
class Field:
    """One column of a row.

    Attributes:
        name: of the column.
        modality: that it belongs to.
        type: image, audio, video, points, text, series, number, category or date.
        categories: of the training rows, without the empty one.
        mean: of a number in the training rows.
        is_list: whether a cell may hold several pictures or sounds.
    """

    name: str
    modality: str
    type: str
    categories: list[str] = field(default_factory=list)
    mean: float | None = None
    is_list: bool = False

    def to_json(self) -> dict[str, object]:
        """Return the field as /schema lists it."""
        described: dict[str, object] = {"name": self.name, "type": self.type}
        if self.type == "category":
            described["categories"] = self.categories[:MAX_CATEGORIES]
            described["num_categories"] = len(self.categories)
        if self.mean is not None:
            described["mean"] = self.mean
        if self.is_list:
            described["list"] = True
        return described


@dataclass(frozen=True)
class Modality:
    """One modality.

    Attributes:
        name: of the modality.
        kind: image, audio, video, points, text, series or tabular.
        fields: its columns; one unless it is tabular.
    """

    name: str
    kind: str
    fields: list[Field]


@dataclass(frozen=True)
class ServedTarget:
    """One target.

    Attributes:
        name: of the target.
        task: classification, ordinal, multilabel or regression.
        outputs: names of the classes, labels or numbers.
    """

    name: str
    task: str
    outputs: list[str]


@dataclass(frozen=True)
class Schema:
    """What a run reads and predicts.

    Attributes:
        run: its name.
        modalities: in their order.
        targets: in their order.
    """

    run: str
    modalities: list[Modality]
    targets: list[ServedTarget]

    @cached_property
    def fields(self) -> dict[str, Field]:
        """All columns by name; a modality of one column also goes by its own name."""
        fields: dict[str, Field] = {}
        for modality in self.modalities:
            fields |= {column.name: column for column in modality.fields}
        for modality in self.modalities:
            if modality.kind != "tabular":
                fields.setdefault(modality.name, modality.fields[0])
        return fields

    @cached_property
    def tables(self) -> dict[str, Modality]:
        """The tabular modalities by name; a row may hold their cells in an object of that name."""
        return {modality.name: modality for modality in self.modalities if modality.kind == "tabular"}

    def to_json(self) -> dict[str, object]:
        """Return the schema as /schema answers."""
        inputs = []
        for modality in self.modalities:
            columns = [column.to_json() for column in modality.fields]
            inputs.append({"modality": modality.name, "kind": modality.kind, "columns": columns})
        targets = [{"name": target.name, "task": target.task, "outputs": target.outputs} for target in self.targets]
        return {"run": self.run, "inputs": inputs, "targets": targets}


def build_schema(run: RowSpec, targets: list[ServedTarget]) -> Schema:
    """Return what a run reads and predicts.

    Raises:
        ConfigError: the columns of a tabular modality are not known.
    """
    modalities = []
    for name, spec in run.modalities.items():
        columns = name_columns(run, name, spec)
        fields = [_describe_field(column, name, spec["kind"], run.preprocessors[name]) for column in columns]
        modalities.append(Modality(name, spec["kind"], fields))
    return Schema(run.name, modalities, targets)


def _describe_field(column: str, modality: str, kind: str, preprocessor: "Preprocessor") -> Field:
    if not isinstance(preprocessor, Cells):  # a class of the user's own may read the cells of a table
        type_name = "text" if kind == "tabular" else kind
        return Field(column, modality, type_name, is_list=isinstance(preprocessor, Items))
    if column in preprocessor.categories:
        known = preprocessor.categories[column].numbers
        return Field(column, modality, "category", [category for category in known if category])
    if column in preprocessor.numeric:
        return Field(column, modality, "number", mean=preprocessor.numeric[column].center)
    return Field(column, modality, "date")
