"""How a compressed model differs in shape from the one that its config builds, as JSON holds it."""

from typing import Literal, NotRequired, TypedDict

Mode = Literal["static", "dynamic"]
Scheme = Literal["asymmetric", "symmetric"]


class Drop(TypedDict):
    """Blocks that a list of blocks lacks.

    Attributes:
        container: name of the list in the model: encoder.text.blocks.layers.
        children: names of the blocks in it, before they were dropped.
    """

    container: str
    children: list[str]


class Int8(TypedDict):
    """Layers that compute in 8 bits.

    Attributes:
        mode: static, with ranges in the checkpoint, or dynamic.
        scheme: of the inputs.
        layers: their names.
    """

    mode: Mode
    scheme: Scheme
    layers: list[str]


class Structure(TypedDict):
    """What is smaller than in the model that the config builds. Names are those of modules, after blocks were dropped.

    Attributes:
        drops: blocks, in the order in which they were dropped.
        heads: number of heads of each smaller attention.
        ranks: rank of each layer that is a product of two.
        sizes: inputs and outputs of each layer whose width differs.
        dims: width of the features of an encoder or the fusion, where it differs.
        int8: layers that compute in 8 bits, if there are any.
    """

    drops: list[Drop]
    heads: dict[str, int]
    ranks: dict[str, int]
    sizes: dict[str, list[int]]
    dims: dict[str, int]
    int8: NotRequired[Int8]
