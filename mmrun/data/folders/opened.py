"""What every layout of files becomes: a sheet, and the folder from which the file names in its cells start."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmrun.data.sheets.sheet import Sheet


@dataclass(frozen=True)
class Opened:
    """A path that was recognised and read.

    Attributes:
        sheet: its rows.
        root: the folder from which the file names in cells start.
        tables: files from which the sheet was read, by name.
        contents: columns whose cells were read from small files or from names; with `tables`, they are the content.
        notes: what it was recognised as, and what is not read, one line each.
    """

    sheet: Sheet
    root: Path
    tables: Mapping[str, Path] = field(default_factory=dict)
    contents: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def hash_content(self) -> str:
        """Return a digest of all cells, but not of the files that they name."""
        digests = {}
        for name, path in self.tables.items():
            with open(path, "rb") as stream:
                digests[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        if len(digests) == 1 and not self.contents:
            return next(iter(digests.values()))
        whole = hashlib.sha256(json.dumps(sorted(digests.items())).encode())
        for column in self.contents:
            whole.update(json.dumps(column).encode())
            for cell in self.sheet.columns[column]:
                whole.update(repr(cell).encode("utf-8", "surrogatepass"))
        return whole.hexdigest()
