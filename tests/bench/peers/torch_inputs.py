"""What the works of PyTorch's side are made of: the inputs of work.h, drawn from the same hashes."""

import numpy as np
import torch

device = "cpu"  # where inputs and models are


def hashes(name, count):
    """Finalizer of splitmix64 over i + FNV-1a of the name."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    z = np.arange(count, dtype=np.uint64) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def numbers(name, shape, scale=1, shift=0):
    u = (hashes(name, int(np.prod(shape))) >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
    return torch.from_numpy((u * np.float32(scale) + np.float32(shift)).reshape(shape)).to(device)


def indices(name, shape, limit):
    z = (hashes(name, int(np.prod(shape))) >> np.uint64(33)) % np.uint64(limit)
    return torch.from_numpy(z.astype(np.int64).reshape(shape)).to(device)


def leaf(name, shape, scale=1, shift=0):
    return numbers(name, shape, scale, shift).requires_grad_()


class ForwardAndBackward:
    def __init__(self, leaves, f):
        self.leaves, self.f = leaves, f
        y = f()
        self.dy = None if y.numel() == 1 else numbers("dy", y.shape)

    def run(self):
        for x in self.leaves.values():
            x.grad = None
        y = self.f()
        y.backward(self.dy)
        return y

    def results(self):
        y = self.run().detach()
        return {"y": y, **{"d" + name: x.grad for name, x in self.leaves.items()}}
