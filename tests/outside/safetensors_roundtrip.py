#!/usr/bin/env python3
"""Files in both directions between this library and Python's safetensors (pip install safetensors numpy).

  safetensors_roundtrip.py make FILE   writes the fixture tests/fixtures/python.safetensors, which the test
                                       suite reads
  safetensors_roundtrip.py check FILE  reads a file written by the library (tests/fixtures/norma.safetensors,
                                       which the test suite compares with what the library writes) and compares
                                       names, dtypes, shapes, values and metadata
"""
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

METADATA = {"format": "pt", "note": "Grüße, \"quoted\"\n"}


def ramp(shape, dtype):
    """Values (i - 2) * 0.375 in row-major order: exact in every floating type."""
    return ((np.arange(int(np.prod(shape))) - 2) * 0.375).reshape(shape).astype(dtype)


def expected():
    """Names as PyTorch gives them to Sequential(Linear, BatchNorm1d) and some corner cases."""
    return {
        "0.weight": ramp((3, 2), np.float32),
        "0.bias": ramp((3,), np.float32),
        "1.weight": ramp((3,), np.float64),
        "1.running_mean": ramp((3,), np.float32),
        "1.running_var": ramp((3,), np.float32) + 2,
        "1.num_batches_tracked": np.array(9007199254740993, np.int64),
        "mask": np.array([True, False, True]),
        "empty": np.zeros((0, 5), np.float32),
        "übung": np.array([[-1, 2**62]], np.int64),
    }


def make(path):
    save_file({**expected(), "half": ramp((5,), np.float16)}, path, METADATA)
    print("wrote", path)


def check(path):
    arrays = expected()
    loaded = load_file(path)
    assert set(loaded) == set(arrays), (sorted(loaded), sorted(arrays))
    for name, x in arrays.items():
        y = loaded[name]
        assert y.dtype == x.dtype and y.shape == x.shape, (name, y.dtype, y.shape)
        assert y.tobytes() == x.tobytes(), name
    with safe_open(path, "np") as file:
        assert file.metadata() == METADATA, file.metadata()
    print(path, "holds the", len(arrays), "tensors and the metadata expected")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("make", "check"):
        sys.exit(__doc__)
    (make if sys.argv[1] == "make" else check)(sys.argv[2])
