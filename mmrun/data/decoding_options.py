"""How the values of some modalities are decoded: several files in a cell, the axes of series, parts of streams."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from mmrun.data.align.options import Alignment
from mmrun.data.align.rows import check_alignments
from mmrun.data.items import ItemOptions, Pooling
from mmrun.data.preprocess.items import has_items
from mmrun.data.schema import Layout
from mmrun.data.table import Column, SeriesLayout
from mmrun.errors import ConfigError

FILE_KINDS = ("image", "audio", "points")  # a cell can name several of these


class DecodingOptions(NamedTuple):
    """How the values of some modalities are decoded.

    Attributes:
        items: how several pictures or sounds of a row are read, by modality.
        max_items: number that is read of a row; None: chosen from the training rows.
        layout: of series, by modality.
        align: of modalities whose cells name streams.
    """

    items: Mapping[str, Pooling]
    max_items: int | None
    layout: Mapping[str, SeriesLayout]
    align: Mapping[str, Alignment]

    def check(self, columns: Layout) -> None:
        """Reject names that are no modality, or one of another kind.

        Args:
            columns: what the columns of the file hold.

        Raises:
            ConfigError: a name does not fit.
        """
        for key, names, kinds in (("items", self.items, FILE_KINDS), ("layout", self.layout, ("series",))):
            fitting = [name for name, modality in columns.modalities.items() if modality.kind in kinds]
            for name in names:
                if name not in fitting:
                    raise ConfigError(
                        f"dataset.{key}.{name}: this is for modalities of the kind {' or '.join(kinds)} (there are "
                        f"{', '.join(fitting) or 'none'})"
                    )
        check_alignments(self.align, columns.modalities)

    def apply(self, name: str, column: Column) -> Column:
        """Return the column of a modality with what decoding needs to know.

        Args:
            name: of the modality.
            column: its raw values.
        """
        if column.kind == "series":
            return column if name in self.align else replace(column, layout=self.layout.get(name, "auto"))
        if column.kind in FILE_KINDS and (name in self.items or has_items(column)):
            return replace(column, items=ItemOptions(self.items.get(name, "pooled"), self.max_items))
        return column
