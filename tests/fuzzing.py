"""Random input: overrides, manifests and damaged run folders, and what must hold for each of them.

`tests/test_fuzzing.py` tries a few; `scripts/soak --minutes N` tries as many as fit into the time.
"""

import contextlib
import io
import json
import shutil
from pathlib import Path

from hypothesis import strategies as st

from mmrun import compose
from mmrun.cli import main
from mmrun.errors import MmrunError, escape
from tests.test_wrong_command_lines import check

FINISHED_RUN = Path(__file__).parent / "fixtures" / "run-0.1.0"
MAX_LINES = 3  # of an error


def _flatten(values, prefix=""):
    keys = []
    for key, value in values.items():
        keys.append(f"{prefix}{key}")
        if isinstance(value, dict):
            keys += _flatten(value, f"{prefix}{key}.")
    return keys


# ------------------------------------------------------------------------------------------------------ overrides

KEYS = _flatten(compose.as_dict(compose.load(["augment=light", "balance=agm", "strategy=component"])))
WORDS = [
    "",
    "x",
    "null",
    "true",
    "image",
    "task",
    "auto",
    "component",
    "concat",
    "mmrun.models.fusions.simple.Sum",
    "*",
]
NUMBERS = ["0", "1", "-1", "2.5", "1e300", "-1e-300", "nan", "inf", "99999999999999999999", "1_0", "0x1", ".5", "1e999"]
SCALARS = st.one_of(
    st.sampled_from(WORDS + NUMBERS),
    st.text(max_size=8),
    st.floats(allow_subnormal=False).map(str),
    st.integers().map(str),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]"),
        st.dictionaries(st.sampled_from([*WORDS, "_target_", "1"]), inner, max_size=2).map(
            lambda items: "{" + ",".join(f"{key}:{value}" for key, value in items.items()) + "}"
        ),
        st.lists(inner, min_size=2, max_size=3).map(",".join),
        inner.map(lambda value: f"${{{value}}}"),
        st.tuples(st.sampled_from(["range", "choice", "interval", "glob", "sort", "int", "tag"]), inner).map(
            lambda call: f"{call[0]}({call[1]})"
        ),
    ),
    max_leaves=5,
)
KEY_NAMES = st.one_of(
    st.sampled_from(KEYS),
    st.sampled_from(["hydra.run.dir", "hydra/launcher", "sweep", "encoder/image@encoder.image", "fusion@", "a.b"]),
    st.tuples(st.sampled_from(KEYS), st.sampled_from([".x", ".", "@", "/x", ".0", "._target_"])).map("".join),
    st.text(max_size=6),
)
OVERRIDES = st.tuples(
    st.sampled_from(["", "", "", "+", "++", "~"]), KEY_NAMES, st.sampled_from(["=", "=", "=", ""]), VALUES
)
COMMAND_LINES = st.tuples(
    st.sampled_from([[], [], ["-m"], ["--cfg", "job"]]), st.lists(OVERRIDES.map("".join), min_size=1, max_size=3)
).map(lambda parts: [*parts[0], *parts[1]])


def check_command_line(words):
    """Compose and check a command line: it works, or says in a few lines why not."""
    message, exit_code = "", 2
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            check(words)
        except MmrunError as error:
            message, exit_code = escape(str(error)), error.exit_code  # as the shell prints it
    assert exit_code == 2, words
    assert message.count("\n") < MAX_LINES, words
    assert len(message) < 5000, words


# ------------------------------------------------------------------------------------------------------ manifests

CELLS = st.one_of(
    st.sampled_from(["", "0", "1", "a", "train", "val", "test", "p7", "3.5", "nan", "no.png", "../x.wav", '"', "--1"]),
    st.text(max_size=6),
)
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=5), min_size=1, max_size=12)
MANIFESTS = st.one_of(
    ROWS.map(lambda rows: "\n".join(",".join(row) for row in [["label", "split", "x", "y"], *rows]).encode()),
    ROWS.map(lambda rows: "\n".join(",".join(row) for row in rows).encode("utf-8", "replace")),
    st.binary(max_size=200),
)


def check_manifest(folder, content):
    """Check a data file: it is described, or an error says what is wrong."""
    file = folder / "data.csv"
    file.write_bytes(content)
    run_verb(["data", "check", str(file)])


# --------------------------------------------------------------------------------------------------- run folders

FILES = sorted(path.relative_to(FINISHED_RUN).as_posix() for path in FINISHED_RUN.rglob("*") if path.is_file())
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_subnormal=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
DAMAGES = st.tuples(
    st.sampled_from(FILES),
    st.one_of(
        st.none(),
        st.binary(max_size=50),
        st.floats(0, 1, allow_subnormal=False),
        JSON.map(lambda value: json.dumps(value).encode()),
    ),
)


def check_run_folder(folder, damage):
    """Damage one file of a finished run, and read it with the verbs that read runs."""
    name, content = damage
    run = folder / "outputs" / "run"
    shutil.copytree(FINISHED_RUN, run, dirs_exist_ok=True)
    file = run / name
    if content is None:
        file.unlink()
    elif isinstance(content, float):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(content * len(whole))])
    else:
        file.write_bytes(content)
    run_verb(["ls", str(folder)])
    run_verb(["show", str(run)])
    run_verb(["compare", str(folder), "--by", "fusion"])


def run_verb(words):
    """Run a verb in this process; an error is a few lines and an exit code."""
    errors = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        code = main(words)
    assert code in (0, 1, 2), words
    if code == 2:
        assert errors.getvalue().count("\n") <= MAX_LINES, errors.getvalue()
