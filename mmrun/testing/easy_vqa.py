"""Write easy-VQA (Zhou, 2019) as a manifest: questions about pictures of one coloured shape, and 13 answers.

The test rows are those of the package `easy-vqa`. Of its training pictures, every tenth (id % 10 == 0) is for
validation.
"""

import argparse
import csv
import json
import random
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from mmrun.errors import ConfigError, DataError
from mmrun.installation import format_pip_command

COLUMNS = ("id", "image", "question", "answer", "split", "picture")


def write_easy_vqa(source: Path, folder: Path, share: float = 1.0) -> Path:
    """Copy the pictures, and write a row for each question.

    Args:
        source: the folder `data` of the package; it holds train and test, each with images and questions.json.
        folder: written; made if it does not exist.
        share: of the questions that is written, drawn at random, the same each time.

    Returns:
        The manifest. Its column `picture` names the picture of a question, which other questions may share.

    Raises:
        DataError: questions.json is missing or damaged, or a picture that it names is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.csv"
    unfinished = folder / "manifest.csv.tmp"
    with open(unfinished, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for part in ("train", "test"):
            shutil.copytree(source / part / "images", folder / "images" / part, dirs_exist_ok=True)
            writer.writerows(_list_rows(source / part / "questions.json", folder, part, share))
    unfinished.replace(manifest)
    return manifest


def _list_rows(file: Path, folder: Path, part: str, share: float) -> Iterator[tuple[str, ...]]:
    """Yield the rows of one part, in the order of COLUMNS."""
    draw = random.Random(0)
    for number, (question, answer, picture_id) in enumerate(_read_questions(file)):
        if draw.random() >= share:
            continue
        image = f"images/{part}/{picture_id}.png"
        if not (folder / image).is_file():
            raise DataError(f"{file}: question {number} is about picture {picture_id}, which images does not hold")
        split = "val" if part == "train" and picture_id % 10 == 0 else part
        yield f"{part}-{number}", image, question, answer, split, f"{part}-{picture_id}"


def _read_questions(file: Path) -> list[tuple[str, str, int]]:
    try:
        questions = json.loads(file.read_text(encoding="utf-8"))
        return [(str(question), str(answer), int(picture_id)) for question, answer, picture_id in questions]
    except (ValueError, TypeError) as error:
        raise DataError(f"{file}: is not a list of [question, answer, picture] ({error})") from None


def find_data() -> Path:
    """Return the folder of the data in the package, without importing it.

    Raises:
        ConfigError: easy-vqa is not installed.
    """
    spec = find_spec("easy_vqa")
    if spec is None or spec.origin is None:
        raise ConfigError(f"easy-vqa is not installed: {format_pip_command('install', '--no-deps', 'easy-vqa')}")
    return Path(spec.origin).parent / "data"


def main() -> None:
    """Write the data set in the folder that the command line names."""
    parser = argparse.ArgumentParser(description="Write easy-VQA as a data set of mmrun.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="images/ and manifest.csv go there")
    parser.add_argument("--share", type=float, default=1.0, help="of the questions, drawn at random (default: all)")
    args = parser.parse_args()
    if not 0 < args.share <= 1:
        parser.error(f"--share: {args.share:g} is not above 0 and at most 1")
    try:
        manifest = write_easy_vqa(find_data(), args.folder, args.share)
    except (ConfigError, DataError, OSError) as error:
        sys.exit(f"easy_vqa: {error}")
    print(manifest)


if __name__ == "__main__":
    main()
