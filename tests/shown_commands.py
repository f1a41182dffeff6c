"""The commands and files that the README and docs show, and which of the commands no test runs."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md"]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"`([\w./]+\.(?:py|yaml))`")
PROGRAMS = re.compile(r"(mmrun |scripts/|python |torchrun |eval |git |\. |\.venv/bin/|[A-Z_]+=\S+ )")
NOT_RUN = {  # how a command begins -> why it is not run
    "scripts/test": "runs this test",
    "scripts/mmrun train strategy=component\n": "the README's first command does",
    "git clone": "the clone is there",
    ".venv/bin/pip install pre-commit": "needs a package index",
    ".venv/bin/pip install --no-deps easy-vqa": "needs a package index",
    "mmrun data prepare crema_d --source": "needs this data set; cli/test_data_prepare.py runs it on a tiny folder",
    "scripts/easy_vqa": "needs this package; testing/test_easy_vqa.py runs it on a tiny fake",
    "mmrun train experiment=easy_vqa": "needs this data set",
    "scripts/real_weights": "needs packages; testing/test_real_weights.py runs it",
    "mmrun train strategy=component_pretrained modalities": "needs these weights; testing/test_real_weights.py runs it",
    "mmrun train strategy=prompt_tuning": "needs weights; end_to_end/test_pretrained_models.py runs it on tiny ones",
    "scripts/bench": "measures for minutes",
    "scripts/gpu-check": "runs for minutes where there is a GPU; test_gpu_check.py runs it without one",
    "mmrun compress": "cli/test_compress.py runs it",
    "mmrun compare products/default --by compress": "compares what it writes",
    "mmrun data check pets.zip": "a file of the reader's; end_to_end/test_layouts.py trains on such a one",
    "mmrun train dataset=pets.zip": "a file of the reader's; end_to_end/test_layouts.py trains on such a one",
    "mmrun train dataset=examples/products.csv encoder.description.preprocess.vectors": "needs vectors; "
    "end_to_end/test_word_vectors.py trains on some of its own",
    "mmrun train dataset=shifted/streams.csv": "trains a minute; testing/test_shifted_streams.py reads its windows",
    "mmrun train dataset=my.csv": "a file of the reader's; data/preprocess/test_tabular.py tests both keys",
    "mmrun export": "cli/test_export.py runs it, on all kinds",
    "mmrun serve": "runs until it is stopped; deploy/serve/ runs it",
    "curl http": "needs the server; deploy/serve/test_app.py sends the same",
    "mmrun push": "sends to a hub; deploy/test_share.py runs it against one on this machine",
    "mmrun pull": "downloads from a hub; deploy/test_share.py runs it against one on this machine",
    "python product-onnx": "cli/test_export.py runs it, on all kinds",
    "mmrun train -m strategy=scratch,holistic_pretrain,component seed=0,1,2,3,4": "45 runs of 5 epochs",
    "mmrun train -m seed=0,1,2,3,4,5,6,7,8,9 trainer.vectorize=true": "10 runs; end_to_end/test_sweep.py runs three",
    "mmrun train -m experiment=avdigits": "90 runs, on data that is not here",
    "mmrun train -m experiment=easy_vqa": "72 runs, on data that is not here",
    "mmrun compare outputs/easy_vqa": "compares these runs",
    "mmrun train -m augment=none,light,strong,trivial seed=0,1,2": "12 runs of 10 epochs",
    "mmrun compare augmented/": "compares these runs",
    "mmrun compare incomplete/": "compares runs on data that is not here",
    "mmrun report outputs --eval": "evaluates dozens of runs; end_to_end/test_eval.py runs it on two",
    "mmrun train -m --jobs 2": "starts processes; end_to_end/test_sweep.py does so with small runs",
    "mmrun compare outputs/avdigits": "compares these runs",
    "mmrun compare outputs/default --by strategy --curve-over": "compares these runs",
}


class Command(NamedTuple):
    """A line of a page that a reader may type."""

    page: str
    text: str

    @property
    def is_run(self):
        return not f"{self.text}\n".startswith(tuple(NOT_RUN))


def list_commands(page):
    """Return the commands of a page in their order, a continued line as one."""
    commands = []
    for language, block in FENCE.findall(page.read_text()):
        lines = block.replace("\\\n", " ").splitlines()
        if language == "" and PROGRAMS.match(lines[0]):
            commands += [Command(page.relative_to(ROOT).as_posix(), re.sub(r"\s+", " ", line)) for line in lines]
    return commands


def read_files(page):
    """Return the files that a page shows: a block of Python or YAML after a sentence that names its file."""
    text, files = page.read_text(), {}
    for match in FENCE.finditer(text):
        names = FILE_NAME.findall(text[: match.start()].rpartition("```")[2])
        if match[1] in ("python", "yaml") and names:
            files[names[-1]] = match[2]
    return files
