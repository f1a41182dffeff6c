"""VQA v2: questions about photographs, each answered by ten people."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from mmrun.data.benchmarks.benchmark import Benchmark, Modality, Row
from mmrun.data.benchmarks.source import Source, check_fields
from mmrun.errors import DataError

PARTS = {"train2014": "train", "val2014": "test"}
MIN_QUESTIONS = 9  # training questions that have an answer, so that it is a class (Teney et al., 2018)
OTHER = "(other)"
QUESTION_FIELDS = ("question_id", "image_id", "question")
ANSWER_FIELDS = ("question_id", "multiple_choice_answer", "answers", "question_type", "answer_type")


class Files(NamedTuple):
    """Where a part lies.

    Attributes:
        questions: JSON file.
        annotations: JSON file.
        images: folder.
    """

    questions: str
    annotations: str
    images: str


def read_rows(source: Source) -> Iterator[Row]:
    """Yield a row for each question of the parts with public answers."""
    files = {part: _find_files(source, part) for part in PARTS}
    classes: set[str] = set()
    for part, split in PARTS.items():
        answers = _read_answers(source, files[part].annotations)
        if split == "train":
            counts = Counter(str(fields["multiple_choice_answer"]) for fields in answers.values())
            classes = {answer for answer, count in counts.items() if count >= MIN_QUESTIONS}
        for question in _read_list(source, files[part].questions, "questions", QUESTION_FIELDS):
            fields = answers.get(str(question["question_id"]))
            if fields is None:
                source.left_out["questions without answers"] += 1
                continue
            yield _build_row(source, part, files[part].images, question, fields, classes)


def _build_row(
    source: Source, part: str, folder: str, question: dict[str, object], fields: dict[str, object], classes: set[str]
) -> Row:
    image_id, answer = str(question["image_id"]), str(fields["multiple_choice_answer"])
    answers = fields["answers"] if isinstance(fields["answers"], list) else []
    image = source.take_file("image", f"{folder}/COCO_{part}_{image_id:0>12}.jpg")
    row: Row = {"id": str(question["question_id"]), "image": image, "question": str(question["question"])}
    row |= {"answer": answer if answer in classes else OTHER, "answers": "|".join(map(str, answers))}
    row |= {name: str(fields[name]) for name in ("question_type", "answer_type")}
    return row | {"image_id": image_id, "split": PARTS[part]}


def _find_files(source: Source, part: str) -> Files:
    questions = f"v2_OpenEnded_mscoco_{part}_questions.json"
    annotations = f"v2_mscoco_{part}_annotations.json"
    return Files(
        source.require(questions, f"Questions/{questions}", f"questions/{questions}"),
        source.require(annotations, f"Annotations/{annotations}", f"annotations/{annotations}"),
        source.require(part, f"Images/mscoco/{part}", f"images/{part}"),
    )


def _read_answers(source: Source, name: str) -> dict[str, dict[str, object]]:
    annotations = _read_list(source, name, "annotations", ANSWER_FIELDS)
    return {str(fields["question_id"]): fields for fields in annotations}


def _read_list(source: Source, name: str, key: str, fields: tuple[str, ...]) -> Iterator[dict[str, object]]:
    content = check_fields(source.read_json(name, _shrink), [key], name)
    items = content[key]
    if not isinstance(items, list):
        raise DataError(f"{name}: '{key}' is not a list; get the file again")
    for number, item in enumerate(items, start=1):
        yield check_fields(item, fields, f"{name}: {key} {number}")


def _shrink(fields: dict[str, object]) -> object:
    """Return only the answer of one of the ten people; there are millions of them."""
    return fields["answer"] if "answer_confidence" in fields and "answer" in fields else fields


BENCHMARK = Benchmark(
    title="VQA v2",
    paper="Goyal et al., 2017",
    url="https://visualqa.org/download.html",
    size="658,111 questions about 123,287 photographs; 19 GB",
    license="CC BY 4.0 for questions and answers; the photographs (COCO) have licences of their own",
    layout=(
        "v2_OpenEnded_mscoco_train2014_questions.json (or in Questions/), and of val2014",
        "v2_mscoco_train2014_annotations.json (or in Annotations/), and of val2014",
        "train2014/COCO_train2014_000000000009.jpg (or Images/mscoco/train2014/...), and val2014",
    ),
    modalities={"image": Modality("image"), "question": Modality("text")},
    target="answer",
    task="classification",
    group="image_id",
    split="official train is train, official val is test, since the answers of the official test are not public; mmrun "
    "draws val from train by image",
    metric="VQA accuracy: min(people who gave the answer / 3, 1)",
    num_rows=658111,
    read_rows=read_rows,
    caution=f"accuracy counts the most frequent answer; answers to fewer than {MIN_QUESTIONS} training questions are "
    f"one class, {OTHER}, so it is not the VQA accuracy of papers. `answers` has all ten",
)
