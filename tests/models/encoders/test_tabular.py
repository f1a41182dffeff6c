import pytest
import torch

from mmrun.models.encoders.tabular import CellDropout, FtTransformer, Mlp

TABLE = {
    "numeric": torch.ones(1000, 2),
    "missing": torch.zeros(1000, 2, dtype=torch.bool),
    "categorical": torch.ones(1000, 1, dtype=torch.int64),
}


def test_a_few_cells_are_hidden_in_training_alone():
    torch.manual_seed(0)
    dropout = CellDropout(0.1)
    hidden = dropout.train()(TABLE)
    assert hidden["missing"].float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (hidden["numeric"] == 0).equal(hidden["missing"])
    assert (hidden["categorical"] == 0).float().mean().item() == pytest.approx(0.1, abs=0.03)
    assert dropout.eval()(TABLE) is TABLE
    assert CellDropout(0.0).train()(TABLE) is TABLE


@pytest.mark.parametrize(("cell_dropout", "learns"), [(0.0, False), (0.1, True)])
def test_the_vector_of_unknown_categories_learns(cell_dropout, learns):
    torch.manual_seed(0)
    encoder = Mlp(2, [4], cell_dropout=cell_dropout)
    assert encoder.categories.embedding.weight[0].tolist() == [0.0] * 8
    encoder(TABLE).pooled.square().sum().backward()
    gradient = encoder.categories.embedding.weight.grad[0]
    assert bool(gradient.abs().sum() > 0) is learns


def test_numbers_and_categories_of_an_ft_transformer_start_on_one_scale():
    torch.manual_seed(0)
    encoder = FtTransformer(50, [51], dim=16)
    known = encoder.categories.embedding.weight[1:]
    assert known.abs().max() <= 0.25  # 1 / sqrt(16)
    assert known.std().item() == pytest.approx(encoder.slope.std().item(), rel=0.05)
    assert encoder.categories.embedding.weight[0].tolist() == [0.0] * 16


def test_a_linear_relation_of_a_table_needs_no_hidden_layer():
    encoder = Mlp(num_numeric=2, cardinalities=[], dims=[4]).eval()
    with torch.no_grad():
        encoder.layers[0][0].weight.zero_()
        encoder.layers[0][0].bias.zero_()
    x = {
        "numeric": torch.tensor([[1.0, 2.0], [10.0, 20.0]]),
        "missing": torch.zeros(2, 2, dtype=torch.bool),
        "categorical": torch.zeros(2, 0, dtype=torch.int64),
    }
    first, tenfold = encoder(x).pooled - encoder.shortcut.bias
    assert torch.allclose(tenfold, 10 * first, atol=1e-5)
    norm_only = Mlp(num_numeric=2, cardinalities=[], dims=[4], norm=True, shortcut=False)
    assert isinstance(norm_only.layers[0][1], torch.nn.LayerNorm)
    assert norm_only.shortcut is None
