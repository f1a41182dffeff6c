"""Pretrained word vectors, from the shell: the toy that they must win, and the run without their file."""

import csv

from tests.end_to_end.conftest import metrics

SEEN = {"good": ["good", "great", "fine"], "bad": ["bad", "awful", "poor"]}
UNSEEN = {"good": ["superb", "lovely", "brilliant"], "bad": ["dreadful", "nasty", "horrible"]}


def write_reviews(folder):
    """Write reviews whose test rows have other words than their training rows, and vectors that know both."""
    with (folder / "reviews.csv").open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["review", "label", "split"])
        for split, words in (("train", SEEN), ("val", SEEN), ("test", UNSEEN)):
            for label, of_label in words.items():
                for place in range(24):
                    table.writerow([f"the film was {of_label[place % 3]} in scene {place}", label, split])
    lines = []
    for words in (SEEN, UNSEEN):
        for label, of_label in words.items():
            sign = 1 if label == "good" else -1
            lines += [f"{word} {sign} {sign * 0.9} 0.1 {place / 9}" for place, word in enumerate(of_label)]
    lines += [f"{word} 0.01 0.02 0.9 0.1" for word in ("the", "film", "was", "in", "scene")]
    (folder / "vectors.txt").write_text("\n".join(lines) + "\n")


def train(shell, name, *overrides):
    shell.words = ("dataset=reviews.csv", "encoder.review=bow", "budget.epochs=20", "trainer.batch_size=16")
    return shell.train("optimizer.lr=0.01", f"outputs={name}", *overrides)


def test_words_that_no_training_row_has_are_understood(shell, tmp_path):
    write_reviews(tmp_path)
    without = train(shell, "without")
    with_vectors = train(shell, "with", "encoder.review.preprocess.vectors=vectors.txt")
    assert metrics(without)["metrics"]["test"]["accuracy"] <= 0.7
    assert metrics(with_vectors)["metrics"]["test"]["accuracy"] >= 0.95
    (tmp_path / "vectors.txt").unlink()
    assert shell("predict", with_vectors, "reviews.csv", "-o", "predicted.csv")[0] == 0
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 145
