"""Small tables, written as files."""

import pytest

from mmrun.data.sources.manifest import manifest


def write(folder, text, name="my.csv"):
    path = folder / name
    path.write_text(text, "utf-8")
    return str(path)


def rows(*lines, count=12):
    """Return a CSV with the header and rows; the last one is repeated until there are `count`."""
    header, *first = lines
    return "\n".join([header, *first, *[first[-1]] * (count - len(first))]) + "\n"


def error_of(kind, *arguments, **keywords):
    with pytest.raises(kind) as error:
        manifest(*arguments, **keywords)
    return str(error.value)
