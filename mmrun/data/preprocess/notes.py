"""Notes of preprocessors on the rows that they were fitted to."""

from collections.abc import Mapping

from mmrun.data_types import Preprocessor


def describe_preprocessors(preprocessors: Mapping[str, Preprocessor]) -> list[str]:
    """Return the notes of preprocessors, if they have any: "text: 64 tokens are read ...".

    Args:
        preprocessors: fitted, by modality.
    """
    lines = []
    for modality, preprocessor in preprocessors.items():
        for note in getattr(preprocessor, "notes", ()):  # optional: see types.Preprocessor
            lines.append(f"{modality}: {note}")
    return lines
