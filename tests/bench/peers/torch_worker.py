#!/usr/bin/env python3
"""PyTorch's side of `make bench-peers`: the commands of worker.cpp, and

    compare FILE      the largest difference between the results in FILE and this side's, by tensor, as a part of its
                      largest value
    about             version and settings that are in force
"""

import json
import os
import resource
import statistics
import struct
import sys
import time

sys.dont_write_bytecode = True  # the tree stays clean

import numpy as np
import torch

import torch_inputs
import torch_work

DTYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64}


def read_safetensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    data = np.memmap(path, mode="r", offset=8 + size)
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensors[name] = data[begin:end].view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def difference(ours, theirs):
    if ours.keys() != theirs.keys():
        raise ValueError(f"different results: {sorted(ours.keys() ^ theirs.keys())}")
    worst = 0.0
    for name, mine in ours.items():
        mine, yours = mine.cpu().numpy(), theirs[name]
        if mine.shape != yours.shape:
            raise ValueError(f"{name}: shapes {mine.shape} and {yours.shape}")
        part = float(np.abs(mine - yours).max() / np.abs(mine).max())
        worst = max(worst, part) if part == part else float("inf")  # NaN counts as different
    return worst


def median_seconds(work, seconds, least):
    def sample(calls):
        start = time.perf_counter()
        for _ in range(calls):
            work.run()
        if on_cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / calls

    on_cuda = torch_inputs.device == "cuda"
    times = [sample(1)]
    calls = max(1, int((5e-3 if on_cuda else 20e-6) / times[0]))
    end = time.perf_counter() + seconds
    while len(times) < least or time.perf_counter() < end:
        times.append(sample(calls))
    return statistics.median(times)


def about():
    maps = open("/proc/self/maps").read()
    loaded = sorted({line.split()[-1].split("/")[-1] for line in maps.splitlines() if "/" in line})
    blas = [path for path in ("openblas-openmp", "openblas-pthread", "libmkl", "blis") if path in maps]
    malloc = [name for name in loaded if "malloc" in name]
    capability = torch.__config__.show().partition("CPU capability usage: ")[2].split()[:1]
    parts = [f"PyTorch {torch.__version__}", f"{torch.get_num_threads()} threads", *blas, *malloc, *capability]
    if torch_inputs.device == "cuda":
        parts = [parts[0], f"CUDA {torch.version.cuda} on {torch.cuda.get_device_name()}"]
    return ", ".join(parts + (["torch.compile for whole steps"] if torch_work.Training.compiled else []))


def answer(words, state):
    command, arguments = words[0], words[1:]
    if command == "about":
        return about()
    if command == "peak":
        return str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    if command == "prepare":
        state["work"] = None
        state["work"] = torch_work.make_work(arguments[0])
        return "ready"
    work = state["work"]
    if command == "compare":
        theirs = read_safetensors(arguments[0])
        return str(work.difference(theirs) if hasattr(work, "difference") else difference(work.results(), theirs))
    if command == "run":
        return str(1e9 * median_seconds(work, float(arguments[0]), int(arguments[1])))
    raise ValueError("no such command")


def main():
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch_work.Training.compiled = "--compile" in sys.argv
    torch_inputs.device = "cuda" if "--cuda" in sys.argv else "cpu"
    state = {}
    for line in sys.stdin:
        try:
            print(answer(line.split(), state), flush=True)
        except Exception as error:
            print("error", type(error).__name__, str(error).replace("\n", " "), flush=True)


main()
