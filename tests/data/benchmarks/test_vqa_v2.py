"""VQA v2: the rows of a tiny folder of its layout, and what is wrong with others."""

from tests.data.benchmarks.layouts import prepare, write_text


def test_rows(tmp_path):
    rows = prepare("vqa_v2", tmp_path).rows
    assert [row["split"] for row in rows] == ["train"] * 24 + ["test"] * 2
    assert rows[1] == {
        "id": "10000",
        "image": "train2014/COCO_train2014_000000000010.jpg",
        "question": "Is it 10?",
        "answer": "yes",
        "answers": "yes|yes|yes|yes|yes|yes|yes|yes|yes|maybe",
        "question_type": "is it",
        "answer_type": "yes/no",
        "image_id": "10",
        "split": "train",
    }


def test_answers_to_few_training_questions_are_one_class(tmp_path):
    assert prepare("vqa_v2", tmp_path).rows[0]["answer"] == "(other)"


def test_the_folders_of_the_authors_code(tmp_path):
    def move(folder):
        for path in sorted(folder.glob("*_questions.json")):
            (folder / "Questions").mkdir(exist_ok=True)
            path.rename(folder / "Questions" / path.name)
        (folder / "Images" / "mscoco").mkdir(parents=True)
        (folder / "train2014").rename(folder / "Images" / "mscoco" / "train2014")

    row = prepare("vqa_v2", tmp_path, move).rows[1]
    assert row["image"] == "Images/mscoco/train2014/COCO_train2014_000000000010.jpg"


def test_questions_without_answers_are_left_out_and_counted(tmp_path):
    def remove(folder):
        write_text(folder / "v2_mscoco_val2014_annotations.json", '{"annotations": []}')

    prepared = prepare("vqa_v2", tmp_path, remove)
    assert {row["split"] for row in prepared.rows} == {"train"}
    assert prepared.source.left_out == {"questions without answers": 2}
