"""The counter-based generator Philox4x32-10 in NumPy."""

import numpy as np

MASK = np.uint64(0xFFFFFFFF)


def philox(key: int, counter: np.ndarray) -> np.ndarray:
    """Philox4x32-10 of counters [blocks, 4] under a key of 64 bits."""
    w0, w1, w2, w3 = np.moveaxis(counter.astype(np.uint64), -1, 0)
    keys = np.array([key & 0xFFFFFFFF, key >> 32], np.uint64)
    for _ in range(10):
        first, second = np.uint64(0xD2511F53) * w0, np.uint64(0xCD9E8D57) * w2
        w0, w1, w2, w3 = (
            (second >> np.uint64(32)) ^ w1 ^ keys[0],
            second & MASK,
            (first >> np.uint64(32)) ^ w3 ^ keys[1],
            first & MASK,
        )
        keys = (keys + np.array([0x9E3779B9, 0xBB67AE85], np.uint64)) & MASK
    return np.stack([w0, w1, w2, w3], axis=-1)
