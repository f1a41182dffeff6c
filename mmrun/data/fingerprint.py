"""The fingerprint of a user's data: of the content of its files, and of how they are read."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from mmrun.data.align.options import Alignment
from mmrun.data.file_digests import FileDigests
from mmrun.data.file_resolver import FileResolver
from mmrun.data.schema import Schema
from mmrun.data.sheets.sheet import Reading


def compute_fingerprint(
    content: str,
    sizes: Mapping[str, int],
    schema: Schema,
    lines: np.ndarray | None,
    readings: Mapping[str, Reading],
    alignments: Mapping[str, Alignment],
) -> str:
    """Hash the file, the names and sizes of those that it names, and how it is read.

    Absolute paths are left out, so that it is the same on every machine.

    Args:
        content: digest of the user's file, or of what a folder says of its rows.
        sizes: of the files that it names.
        schema: what its columns mean.
        lines: of the valid rows; None: all are valid.
        readings: of its columns.
        alignments: by modality.
    """
    layout = schema.layout
    modalities = {name: [modality.kind, modality.columns] for name, modality in layout.modalities.items()}
    orders = {name: list(order) for name, order in schema.orders.items() if order is not None}
    formats = {name: f"{reading.kind} {reading.format}" for name, reading in readings.items() if reading.kind}
    parts = [
        content,
        sorted(sizes.items()),
        modalities,
        schema.tasks,
        layout.id,
        layout.group,
        [] if lines is None else lines.tolist(),
        *([orders] if orders else []),
        *([formats] if formats else []),
        *([{name: asdict(alignment) for name, alignment in alignments.items()}] if alignments else []),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def add_contents(fingerprint: str, files: FileResolver, digests: FileDigests | None, encoding: str | None) -> str:
    """Return a fingerprint that also covers the contents of the files that cells name, and the encoding.

    Args:
        fingerprint: of the rest.
        files: that the cells name.
        digests: of their contents; None: they are read.
        encoding: of the user's file; None: Unicode.
    """
    if files.sizes:
        contents = files.digest_contents(FileDigests() if digests is None else digests)
        fingerprint = hashlib.sha256(f"{fingerprint} {contents}".encode()).hexdigest()
    return fingerprint if encoding is None else f"{fingerprint}-{encoding}"
