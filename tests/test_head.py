from mmrun.head import FUSED, Head, sort_heads


def test_names_of_heads():
    heads = [FUSED, Head("image")]
    assert [head.name for head in heads] == ["fused", "probe.image"]
    assert [Head.parse(head.name) for head in heads] == heads
    assert [head.qualify("accuracy") for head in heads] == ["accuracy", "accuracy/image"]


def test_the_fused_head_comes_first():
    assert sort_heads({Head("text"), FUSED, Head("image")}) == [FUSED, Head("image"), Head("text")]
