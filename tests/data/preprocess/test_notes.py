from mmrun.data.preprocess.notes import describe_preprocessors
from mmrun.data.preprocess.text import Tokens


def test_preprocessors_need_no_notes():
    class Silent:
        metadata = {}

    silent, spoken = Silent(), Tokens()
    spoken.notes = ["one", "two"]
    assert describe_preprocessors({"a": silent, "b": spoken}) == ["b: one", "b: two"]
