"""Tensors in little space: weights that share values as codes and a codebook, sparse ones as a bitmap and values."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

Tensors = dict[str, Tensor]

MAX_CODES = 256  # different values of a tensor that is stored as codes
MIN_SIZE = 64  # of a tensor that is packed
PARTS = ("codes", "codebook", "bitmap", "values", "shape")


def pack(tensors: Mapping[str, Tensor]) -> Tensors:
    """Store each tensor in the way that takes the fewest bytes; nothing is lost.

    Args:
        tensors: by name; those of float32 may be packed.

    Returns:
        The tensors as they are, or their parts by NAME/PART.
    """
    packed: Tensors = {}
    for name, tensor in tensors.items():
        parts = _pack_tensor(tensor)
        packed |= {name: tensor} if parts is None else {f"{name}/{part}": value for part, value in parts.items()}
    return packed


def unpack(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return what `pack` was given.

    Args:
        tensors: of a file that may come from someone else.

    Raises:
        ValueError: parts are missing or do not fit each other.
    """
    unpacked: Tensors = {}
    packed: dict[str, Tensors] = {}
    for name, tensor in tensors.items():
        base, slash, part = name.rpartition("/")
        if slash and part in PARTS:
            packed.setdefault(base, {})[part] = tensor
        else:
            unpacked[name] = tensor
    for name, parts in packed.items():
        if name in unpacked or set(parts) not in ({"codes", "codebook", "shape"}, {"bitmap", "values", "shape"}):
            raise ValueError(f"{name}: its parts do not belong together")
        unpacked[name] = _unpack_tensor(name, parts)
    return unpacked


def _pack_tensor(tensor: Tensor) -> Tensors | None:
    """Return the parts of a tensor; None where it takes no more space as it is."""
    if tensor.dtype != torch.float32 or tensor.numel() < MIN_SIZE:
        return None
    flat = tensor.detach().cpu().contiguous().numpy().ravel()
    is_nonzero = flat.view(np.uint32) != 0  # -0.0 counts, so that every bit comes back
    sizes = {"plain": flat.nbytes, "sparse": flat.size // 8 + int(is_nonzero.sum()) * 4}
    codebook, codes = np.unique(flat.view(np.uint32), return_inverse=True) if _has_few(flat) else (None, None)
    if codebook is not None and len(codebook) <= MAX_CODES:
        sizes["shared"] = flat.size * _count_bits(len(codebook)) // 8 + codebook.nbytes
    best = min(sizes, key=lambda way: sizes[way])
    shape = torch.tensor(tensor.shape, dtype=torch.int64)
    if best == "shared":
        assert codebook is not None
        assert codes is not None
        bits = (codes[:, None].astype(np.uint8) >> np.arange(_count_bits(len(codebook)), dtype=np.uint8)) & 1
        packed = torch.from_numpy(np.packbits(bits.ravel()))
        return {"codes": packed, "codebook": torch.from_numpy(codebook.view(np.float32).copy()), "shape": shape}
    if best == "sparse":
        bitmap = torch.from_numpy(np.packbits(is_nonzero))
        return {"bitmap": bitmap, "values": torch.from_numpy(flat[is_nonzero]), "shape": shape}
    return None


def _has_few(flat: np.ndarray) -> bool:
    """Return whether a sample has no more than MAX_CODES different values: else sorting all would take long."""
    return len(np.unique(flat[:: max(1, flat.size // 10_000)].view(np.uint32))) <= MAX_CODES


def _count_bits(values: int) -> int:
    """Return the bits of a code, at least one."""
    return max(1, (values - 1).bit_length())


def _unpack_tensor(name: str, parts: Tensors) -> Tensor:
    shape = [int(size) for size in parts["shape"].flatten()]
    bitmap = parts["codes" if "codes" in parts else "bitmap"]
    count = int(np.prod(shape, dtype=object)) if all(size >= 0 for size in shape) else -1
    if not 0 <= count <= 8 * bitmap.numel() or bitmap.dtype != torch.uint8:
        raise ValueError(f"{name}: its shape does not fit its parts")
    bits = np.unpackbits(bitmap.numpy())
    if "codes" in parts:
        return _look_up(name, bits, parts["codebook"], count).view(shape)
    is_nonzero, values = bits[:count].astype(bool), parts["values"]
    if int(is_nonzero.sum()) != values.numel():
        raise ValueError(f"{name}: its values do not fit its bitmap")
    tensor = torch.zeros(count, dtype=values.dtype)
    tensor[torch.from_numpy(is_nonzero)] = values
    return tensor.view(shape)


def _look_up(name: str, bits: np.ndarray, codebook: Tensor, count: int) -> Tensor:
    width = _count_bits(codebook.numel())
    if not 1 <= codebook.numel() <= MAX_CODES or count * width > len(bits):
        raise ValueError(f"{name}: its codes do not fit its codebook")
    codes = np.packbits(bits[: count * width].reshape(count, width), axis=1, bitorder="little")[:, 0]
    if count and int(codes.max()) >= codebook.numel():
        raise ValueError(f"{name}: its codes do not fit its codebook")
    return codebook[torch.from_numpy(codes).long()]
