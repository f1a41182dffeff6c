import numpy as np
import pytest

from mmrun.data.checks.similarity import cluster_rows, find_similar_texts, find_similar_vectors

WORDS = [f"word{number}" for number in range(500)]


def pairs_of(found):
    return sorted(tuple(sorted(pair)) for pair in found.tolist())


def write_text(rng, length=40):
    return " ".join(rng.choice(WORDS, length))


def test_copies_with_a_changed_word_are_found_among_other_texts():
    rng = np.random.default_rng(0)
    texts = [write_text(rng) for _ in range(2000)]
    copies = [f"changed {text.partition(' ')[2]}" for text in texts[:100]]
    assert pairs_of(find_similar_texts(texts + copies)) == [(row, 2000 + row) for row in range(100)]


@pytest.mark.parametrize(
    ("first", "second", "is_similar"),
    [
        ("A red mug, with a handle.", "a red mug with a handle", True),
        ("red mug", "blue mug", False),
        ("", "", False),  # nothing to compare
        ("!?", "!?", False),
        ("red", "Red!", True),
        ("猫が好きです", "猫が好きです。", True),
        ("猫が好きです", "犬が嫌いです", False),
    ],
)
def test_case_and_punctuation_do_not_count(first, second, is_similar):
    assert pairs_of(find_similar_texts([first, second])) == ([(0, 1)] if is_similar else [])


def test_noisy_and_scaled_copies_are_found_among_other_vectors():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, 100)) + 2 * rng.normal(size=100)  # all have something in common
    copies = 1.5 * (vectors[:100] + 0.05 * rng.normal(size=(100, 100)))
    both = np.concatenate([vectors, copies])
    assert pairs_of(find_similar_vectors(both)) == [(row, 2000 + row) for row in range(100)]
    assert pairs_of(find_similar_vectors(both, min_length_ratio=0.95)) == []


@pytest.mark.parametrize("num_rows", [0, 1, 2, 60])
def test_vectors_of_zeros_resemble_none(num_rows):
    assert find_similar_vectors(np.zeros((num_rows, 5))).shape == (0, 2)


def test_equal_contents_and_pairs_are_one_cluster():
    clusters = cluster_rows(np.array([0, 1, 0, 2, -1, 3, -1]), np.array([[2, 3], [3, 5]]))
    assert clusters[0] == clusters[2] == clusters[3] == clusters[5] != clusters[1]
    assert clusters[[4, 6]].tolist() == [-1, -1]
