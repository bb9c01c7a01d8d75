#!/usr/bin/env python3
"""Draws random cases of every op, layer and optimizer, computes them with PyTorch in f64 and writes them down.

One safetensors file. Metadata: case number -> "name option=value ...". Tensors of case 7: "7.i0", "7.i1", ...
inputs; "7.y0", ... outputs; "7.d0", ... upstream gradients of the outputs; "7.g0", ... the gradients of the inputs.
tests/outside/fixture_test.cpp computes the same with Norma.
"""

import argparse
import json
import struct
import sys

sys.dont_write_bytecode = True  # the tree stays clean

import numpy as np
import torch

import cases_blocks
import cases_channels
import cases_convolution
import cases_elementwise
import cases_layers
import cases_row_norms
import cases_shape
import cases_sums
import cases_training
from draw import DRAWERS, Draw

DTYPES = {"float64": "F64", "float32": "F32", "int64": "I64", "bool": "BOOL"}


def write_safetensors(path, tensors, metadata):
    arrays = {name: np.asarray(tensor.detach().numpy(), order="C") for name, tensor in tensors.items()}
    arrays = dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize))
    header, offset = {"__metadata__": metadata}, 0
    for name, array in arrays.items():
        end = offset + array.nbytes
        header[name] = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(array.tobytes())


def spell(value):
    if isinstance(value, (list, tuple)):
        return ",".join(spell(part) for part in value)
    return repr(int(value)) if isinstance(value, bool) else value if isinstance(value, str) else repr(value)


def compute(case, draw):
    """The tensors of one case, named without its number."""
    inputs = [x.detach().clone() for x in case.inputs]
    wanted = [k for k, x in enumerate(inputs) if x.is_floating_point() and k not in case.fixed]
    for k in wanted:
        inputs[k].requires_grad_()
    outputs = case.function(*inputs)
    outputs = list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]
    tensors = {f"i{k}": x for k, x in enumerate(inputs)} | {f"y{j}": y for j, y in enumerate(outputs)}
    recorded = {j: draw.normal(y.shape) for j, y in enumerate(outputs) if y.requires_grad}
    tensors |= {f"d{j}": dy for j, dy in recorded.items()}
    gradients = [None] * len(wanted)
    if recorded and wanted:
        gradients = torch.autograd.grad(
            [outputs[j] for j in recorded],
            [inputs[k] for k in wanted],
            list(recorded.values()),
            allow_unused=True,
        )
    for k, gradient in zip(wanted, gradients):
        tensors[f"g{k}"] = torch.zeros_like(inputs[k]) if gradient is None else gradient
    return tensors


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=4, help="cases of each op or layer (4)")
    parser.add_argument("--large", type=float, default=0, help="part of the extents that may be long, in [0, 1] (0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="tests/fixtures/outside.safetensors")
    arguments = parser.parse_args()

    draw = Draw(arguments.seed, arguments.large)
    tensors, metadata = {}, {}
    for name, drawer in DRAWERS.items():
        for _ in range(arguments.cases):
            number = len(metadata)
            case = drawer(draw)
            metadata[str(number)] = " ".join([name, *(f"{key}={spell(value)}" for key, value in case.options.items())])
            tensors |= {f"{number}.{part}": tensor for part, tensor in compute(case, draw).items()}
    write_safetensors(arguments.out, tensors, metadata)
    print(f"{arguments.out}: {len(metadata)} cases of {len(DRAWERS)} ops, layers and optimizers, seed {arguments.seed}")


if __name__ == "__main__":
    main()
