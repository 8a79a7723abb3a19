"""Small integers as bits in bytes: `bits` a value, most significant bit first; ternary five to a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spaces.nets import packed_bytes

TERNARY_BITS = 1.58
TRITS = 5
"""3^5 = 243 <= 256: five ternary values fit a byte, 1.6 bits each."""

Ints = NDArray[np.integer[Any]]


def pack(values: Ints, bits: float) -> bytes:
    """`values` (any shape, 0 … 2^bits − 1; 0 … 2 for ternary) as `packed_bytes(len, bits)` bytes."""
    flat = values.reshape(-1).astype(np.int64)
    top = 2 if bits == TERNARY_BITS else 2 ** int(bits) - 1
    if flat.size and (flat.min() < 0 or flat.max() > top):
        raise ValueError(f"values from {flat.min()} to {flat.max()} do not fit {bits} bits, which hold 0 to {top}")
    if bits == TERNARY_BITS:
        padded = np.zeros(packed_bytes(flat.size, bits) * TRITS, np.int64)
        padded[: flat.size] = flat
        return (padded.reshape(-1, TRITS) @ 3 ** np.arange(TRITS)).astype(np.uint8).tobytes()
    places = np.arange(int(bits) - 1, -1, -1)
    return np.packbits(((flat[:, None] >> places) & 1).astype(np.uint8)).tobytes()


def unpack(blob: bytes, count: int, bits: float) -> NDArray[np.int64]:
    """The `count` values that `pack` wrote; ValueError when `blob` has another length."""
    if len(blob) != packed_bytes(count, bits):
        raise ValueError(f"{count} values of {bits} bits take {packed_bytes(count, bits)} bytes, not {len(blob)}")
    raw = np.frombuffer(blob, np.uint8)
    if bits == TERNARY_BITS:
        trits = (raw[:, None].astype(np.int64) // 3 ** np.arange(TRITS)) % 3
        return trits.reshape(-1)[:count]
    ones = np.unpackbits(raw)[: count * int(bits)].reshape(count, int(bits)).astype(np.int64)
    return ones @ (1 << np.arange(int(bits) - 1, -1, -1))
