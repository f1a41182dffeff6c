"""UPMC Food-101: the rows of a tiny folder of its layout, and what is wrong with others."""

from tests.data.benchmarks.layouts import prepare


def test_rows(tmp_path):
    prepared = prepare("food_101", tmp_path)
    assert [row["split"] for row in prepared.rows] == ["train"] * 16 + ["test"] * 4
    assert prepared.rows[8] == {
        "id": "train-sushi_0",
        "image": "images/train/sushi/sushi_0.jpg",
        "text": "sushi, recipe 0 | train",
        "dish": "sushi",
        "split": "train",
    }
    assert prepared.source.left_out == {"images without a title": 1}


def test_images_may_lie_in_the_folder_itself(tmp_path):
    def move(folder):
        for split in ("train", "test"):
            (folder / "images" / split).rename(folder / split)

    assert prepare("food_101", tmp_path, move).rows[0]["image"] == "train/apple_pie/apple_pie_0.jpg"
