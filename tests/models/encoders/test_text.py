import torch

from mmrun.models.encoders.text import TextCnn


def test_textcnn_keeps_the_strongest_answer() -> None:
    torch.manual_seed(0)
    textcnn = TextCnn(vocab_size=20, pad_id=0, embedding_dim=4, channels=5, kernels=(3, 4)).eval()
    features = textcnn({"ids": torch.tensor([[5, 6, 7, 0]]), "mask": torch.tensor([[True, True, True, False]])})
    assert features.tokens.shape == (1, 4, 10)
    assert torch.equal(features.pooled, features.tokens[:, :3].amax(dim=1))
