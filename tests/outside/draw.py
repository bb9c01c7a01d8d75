"""Random shapes, values and options, and the list of cases that are drawn from them."""

import numpy as np
import torch

# Name of an op, layer or optimizer -> a function that draws one case of it. The name is that of the C++ table.
DRAWERS = {}


class Case:
    """One call: options as plain values, inputs in order, and the same call written with PyTorch.

    Floating inputs get a gradient unless their position is in `fixed` (None: no input gets one).
    """

    def __init__(self, inputs, function, fixed=(), **options):
        self.inputs = list(inputs)
        self.function = function
        self.fixed = set(range(len(self.inputs))) if fixed is None else set(fixed)
        self.options = options


def layer(inputs, parameters, function, **options):
    """function(*inputs, p) with p[name] for the parameters, which follow the inputs of the case."""
    names = list(parameters)

    def call(*tensors):
        return function(*tensors[: len(inputs)], dict(zip(names, tensors[len(inputs) :])))

    return Case([*inputs, *parameters.values()], call, parameters=names, **options)


def draws(name):
    def register(drawer):
        assert name not in DRAWERS, name
        DRAWERS[name] = drawer
        return drawer

    return register


class Draw:
    """`large`: the part of the extents that are up to sixteen times as long, beyond what kernels handle at once."""

    def __init__(self, seed, large=0.0):
        self.random = np.random.default_rng(seed)
        self.large = large

    def integer(self, low, high):
        """low <= integer <= high"""
        return int(self.random.integers(low, high + 1))

    def extent(self, low, high):
        return self.integer(low, 16 * high if self.chance(self.large) else high)

    def number(self, low, high):
        return float(self.random.uniform(low, high))

    def chance(self, probability=0.5):
        return bool(self.random.random() < probability)

    def choice(self, items):
        return items[self.integer(0, len(items) - 1)]

    def shape(self, low_rank=0, high_rank=3, low=1, high=4):
        return [self.extent(low, high) for _ in range(self.integer(low_rank, high_rank))]

    def part_of(self, shape):
        """A shape that broadcasts to this one."""
        smaller = [1 if self.chance(0.3) else extent for extent in shape]
        return smaller[self.integer(0, len(smaller)) :] if self.chance(0.4) else smaller

    def broadcast_pair(self, **limits):
        shape = self.shape(**limits)
        pair = [shape, self.part_of(shape)] if self.chance(0.7) else [self.part_of(shape), self.part_of(shape)]
        return pair[::-1] if self.chance() else pair

    def axis(self, rank):
        return self.integer(-rank, rank - 1)

    def axes(self, rank):
        """Some axes of a tensor, in any order; [] stands for all."""
        if self.chance(0.2):
            return []
        chosen = self.random.permutation(rank)[: self.integer(1, rank)]
        return [int(axis) - rank if self.chance() else int(axis) for axis in chosen]

    def normal(self, shape):
        return torch.from_numpy(np.asarray(self.random.standard_normal(shape), dtype=np.float64))

    def uniform(self, shape, low=0.2, high=2.5):
        return torch.from_numpy(np.asarray(self.random.uniform(low, high, shape), dtype=np.float64))

    def halves(self, shape):
        """Multiples of 0.5 near zero: equal values, kinks and zeros are frequent."""
        return self.indices(shape, -3, 3).double() / 2

    def indices(self, shape, low, high):
        """i64, low <= index <= high"""
        return torch.from_numpy(np.asarray(self.random.integers(low, high + 1, shape), dtype=np.int64))

    def mask(self, shape, true=0.6):
        return torch.from_numpy(np.asarray(self.random.random(shape) < true))
