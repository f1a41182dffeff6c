"""Named random streams: what is drawn from one stream does not depend on what else the run draws."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager


def named_seed(seed: int, name: str) -> int:
    """Derive the seed of one named random stream.

    Args:
        seed: of the run.
        name: of the stream, for example init/encoder.image.

    Returns:
        A seed of 63 bits.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded_generator(seed: int, name: str) -> Iterator[None]:
    """Let torch's global CPU generator draw from one named stream while the context is open.

    Args:
        seed: of the run.
        name: of the stream.
    """
    import torch  # imported late: seeds are also derived without it

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(named_seed(seed, name))
        yield
