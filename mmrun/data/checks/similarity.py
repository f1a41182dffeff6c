"""Finds near-duplicates among many rows: locality-sensitive hashing proposes pairs, and each pair is then verified.

Rows are compared with a few neighbours in each bucket of a band, never all with all, so that time and memory grow with
the number of rows.
"""

import re
from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np

MIN_COSINE = 0.99  # of two thumbnails: recompressed, resized or brightened, but not another picture of the same thing
MIN_CENTRED_COSINE = 0.95  # of their differences from the mean of all, where all resemble each other
MIN_CENTRED = 50  # rows whose mean says what all have in common
MIN_JACCARD = 0.7  # of the word pairs of two texts: about one word in 15 differs
NUM_BANDS = 16
BITS_PER_BAND = 24  # of vectors: a pair at MIN_COSINE shares a band with probability 0.996
NUM_HASHES = 64  # of texts, 4 in each band: a pair at MIN_JACCARD shares a band with probability 0.99
NEIGHBOURS = 3  # rows that follow in a bucket and are compared
CHUNK_SIZE = 4096  # rows or pairs that are computed at once

# A word of letters and digits; Chinese and Japanese characters stand alone, since no spaces divide them
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")
EDGE = 0  # hash of the place before the first word and after the last one

IsNear = Callable[[np.ndarray, np.ndarray], np.ndarray]  # first and second rows of P pairs -> [P] bool


def find_similar_vectors(vectors: np.ndarray, min_length_ratio: float = 0.0) -> np.ndarray:
    """Find pairs of vectors that point in nearly the same direction (SimHash; Charikar, 2002).

    Args:
        vectors: [N, D], thumbnails without their mean; a vector of zeros resembles none.
        min_length_ratio: of the shorter vector to the longer one, if a multiple is not a copy.

    Returns:
        [P, 2] int64 numbers of rows; of a group of similar rows, enough pairs to connect it.
    """
    lengths = np.linalg.norm(vectors, axis=1)
    rows = np.flatnonzero(lengths > 0)
    if len(rows) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    directions = (vectors[rows] / lengths[rows, None]).astype(np.float32)
    centred = directions - directions.mean(axis=0) if len(rows) >= MIN_CENTRED else directions
    norms = np.linalg.norm(centred, axis=1)

    def is_near(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        cosine = np.einsum("pd,pd->p", directions[first], directions[second])
        difference = np.einsum("pd,pd->p", centred[first], centred[second])
        is_close = (cosine >= MIN_COSINE) & (difference >= MIN_CENTRED_COSINE * norms[first] * norms[second])
        shorter, longer = np.sort([lengths[rows[first]], lengths[rows[second]]], axis=0)
        return np.asarray(is_close & (shorter >= min_length_ratio * longer))

    return np.asarray(rows[_find_pairs(_hash_directions(centred), is_near)])


def find_similar_texts(texts: Sequence[str]) -> np.ndarray:
    """Find pairs of texts that share most of their pairs of neighbouring words (MinHash; Broder, 1997).

    Case, punctuation and spaces do not count. A text without a word resembles none.

    Args:
        texts: N texts.

    Returns:
        [P, 2] int64 numbers of texts; of a group of similar texts, enough pairs to connect it.
    """
    signatures = np.zeros((len(texts), NUM_HASHES), dtype=np.uint32)
    has_words = np.zeros(len(texts), dtype=bool)
    for start in range(0, len(texts), CHUNK_SIZE):
        chunk = slice(start, start + CHUNK_SIZE)
        signatures[chunk], has_words[chunk] = _sign_texts(texts[chunk])
    rows = np.flatnonzero(has_words)
    signatures = signatures[rows]

    def is_near(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.asarray((signatures[first] == signatures[second]).mean(axis=1) >= MIN_JACCARD)

    bands = signatures.reshape(len(rows), NUM_BANDS, NUM_HASHES // NUM_BANDS).astype(np.uint64)
    weights = _draw_odd_numbers(bands.shape[2])
    keys = (bands * weights).sum(axis=2, dtype=np.uint64)
    return np.asarray(rows[_find_pairs(keys, is_near)])


def cluster_rows(contents: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Number the groups of rows that are equal, or connected by pairs.

    Args:
        contents: [N] int64, equal where the content is; -1 where it is missing.
        pairs: [P, 2] int64 numbers of rows.

    Returns:
        [N] int64, -1 where the content is missing.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    order = np.argsort(contents, kind="stable")
    is_equal = (contents[order[1:]] == contents[order[:-1]]) & (contents[order[1:]] >= 0)
    first = np.concatenate([order[:-1][is_equal], pairs[:, 0]])
    second = np.concatenate([order[1:][is_equal], pairs[:, 1]])
    num_rows = len(contents)
    graph = coo_matrix((np.ones(len(first), dtype=bool), (first, second)), shape=(num_rows, num_rows))
    clusters = connected_components(graph, directed=False)[1].astype(np.int64)
    return np.where(contents >= 0, clusters, -1)


def _find_pairs(keys: np.ndarray, is_near: IsNear) -> np.ndarray:
    """Return the pairs of rows [P, 2] that share a band, are neighbours there, and are near.

    Args:
        keys: [N, bands], of the bucket of each row.
        is_near: verifies pairs.
    """
    num_rows = len(keys)
    candidates = [np.zeros(0, dtype=np.int64)]
    for band, key in enumerate(keys.T):
        order = np.lexsort((keys[:, band - 1], key))  # within a bucket, rows that share another band are neighbours
        for offset in range(1, NEIGHBOURS + 1):
            first, second = order[:-offset], order[offset:]
            is_shared = key[first] == key[second]
            low, high = np.minimum(first, second)[is_shared], np.maximum(first, second)[is_shared]
            candidates.append(low * num_rows + high)
    codes = np.unique(np.concatenate(candidates))
    pairs = np.stack([codes // max(num_rows, 1), codes % max(num_rows, 1)], axis=1)
    near = [np.zeros(0, dtype=bool)]
    for start in range(0, len(pairs), CHUNK_SIZE):
        near.append(is_near(*pairs[start : start + CHUNK_SIZE].T))
    return np.asarray(pairs[np.concatenate(near)])


def _hash_directions(directions: np.ndarray) -> np.ndarray:
    """Return the signs of random projections, BITS_PER_BAND of them in each of NUM_BANDS keys [N, bands]."""
    rng = np.random.default_rng(0)
    planes = rng.standard_normal((directions.shape[1], NUM_BANDS * BITS_PER_BAND), dtype=np.float32)
    weights = np.uint64(1) << np.arange(BITS_PER_BAND, dtype=np.uint64)
    keys = np.zeros((len(directions), NUM_BANDS), dtype=np.uint64)
    for start in range(0, len(directions), CHUNK_SIZE):
        signs = directions[start : start + CHUNK_SIZE] @ planes > 0
        keys[start : start + CHUNK_SIZE] = signs.reshape(len(signs), NUM_BANDS, BITS_PER_BAND) @ weights
    return keys


def _sign_texts(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the MinHash signatures of texts [n, NUM_HASHES], and which of them have a word [n]."""
    hashes: list[int] = []
    starts = []
    has_words = np.zeros(len(texts), dtype=bool)
    for number, text in enumerate(texts):
        words = WORD.findall(text.casefold())
        has_words[number] = bool(words)
        starts.append(len(hashes))
        hashes.append(EDGE)
        hashes.extend(crc32(word.encode("utf-8", "surrogatepass")) for word in words)
        hashes.append(EDGE)
    words_of_all = np.array([*hashes, EDGE], dtype=np.uint64)
    pairs = words_of_all[:-1] * np.uint64(0x9E3779B97F4A7C15) + words_of_all[1:]  # the last of each text is not its own
    signatures = np.empty((len(texts), NUM_HASHES), dtype=np.uint32)
    ends = np.array([*starts[1:], len(hashes)]) - 1
    bounds = np.stack([np.array(starts), ends], axis=1).ravel()
    for place, factor in enumerate(_draw_odd_numbers(NUM_HASHES)):
        mixed = ((pairs ^ (pairs >> np.uint64(29))) * factor) >> np.uint64(32)
        signatures[:, place] = np.minimum.reduceat(mixed, bounds)[::2]
    return signatures, has_words


def _draw_odd_numbers(count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 1 << 63, count, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
