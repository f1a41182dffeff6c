import pytest

from mmrun.data.fitted import compare_fits, digest_state


@pytest.mark.parametrize(
    ("before", "after", "names", "numbers"),
    [
        ({"tokenizer": "a b"}, {"tokenizer": "a b"}, [], []),
        ({"tokenizer": "a b"}, {"tokenizer": "a c"}, ["tokenizer"], []),
        ({"mean": [1.0, 2.0]}, {"mean": [1.0, 2.5]}, [], ["mean"]),
        ({"max_tokens": 32}, {"max_tokens": 40}, [], ["max_tokens"]),
        ({"ranges": []}, {"ranges": [[0.0, 65535.0]]}, [], ["ranges"]),
        ({"numeric": {"age": [40.0, 9.0]}}, {"numeric": {"age": [41.0, 9.0]}}, [], ["numeric"]),
        ({"numeric": {"age": [40.0, 9.0]}}, {"numeric": {"height": [40.0, 9.0]}}, ["numeric"], []),
        (
            {"categories": {"pet": {"cat": 1, "dog": 2}}},
            {"categories": {"pet": {"cat": 2, "dog": 1}}},
            ["categories"],
            [],
        ),
        ({"classes": ["cat", "dog"]}, {"classes": ["dog", "cat"]}, ["classes"], []),
        ({"lowercase": True}, {"lowercase": False}, ["lowercase"], []),
        ({"layout": "TC", "mean": [0.0]}, {"mean": [0.5]}, ["layout"], ["mean"]),
    ],
)
def test_names_and_numbers_are_told_apart(before, after, names, numbers):
    assert compare_fits(digest_state(before), digest_state(after)) == (names, numbers)
