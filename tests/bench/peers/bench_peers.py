#!/usr/bin/env python3
"""Runs the same work in Norma and in PyTorch, in turn, and prints the ratios of their times as a Markdown table.

Both sides are programs that keep running and take commands (worker.cpp), so start-up does not count. A row: both make
the same inputs; the results of one run are compared; a warm-up; then A B A B .., a ratio for each pair.
"""

import argparse
import dataclasses
import datetime
import glob
import os
import re
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True  # the tree stays clean

from rows import BASIC_ROWS, ROWS

HERE = os.path.dirname(os.path.abspath(__file__))


class Worker:
    """A program that answers each line with a line."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def ask(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith("error"):
            raise RuntimeError(f"{' '.join(map(str, words))}: {answer or 'the program ended'}")
        return answer

    def run(self, row):
        time.sleep(0.02)  # until the threads of the other side have gone to sleep
        return float(self.ask("run", row.seconds, row.least))

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Sides:
    """How the programs are started: both with the same number of threads, PyTorch in its best setting."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.distances = []  # from core to core, before each of Norma's samples
        common = {
            "OMP_NUM_THREADS": str(arguments.threads),
            "OPENBLAS_NUM_THREADS": str(arguments.threads),
            # On idle cores both sides are as fast as with the default; on busy ones both are far faster.
            "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
        }
        self.ours, self.theirs = {**os.environ, **common}, {**os.environ, **common}
        if arguments.blas_folder and os.path.isdir(arguments.blas_folder):
            self.theirs["LD_LIBRARY_PATH"] = arguments.blas_folder
        malloc = sorted(glob.glob("/usr/lib/*/libtcmalloc_minimal.so.4") + glob.glob("/usr/lib/libtcmalloc_minimal.so.4"))
        if malloc:
            self.theirs["LD_PRELOAD"] = malloc[0]
        if "avx512f" in processor_flags():
            self.theirs["ATEN_CPU_CAPABILITY"] = "avx512"

    def start_ours(self):
        return Worker([self.arguments.worker, self.arguments.device], self.ours)

    def start_theirs(self, peer):
        if peer == "libtorch":
            return Worker([self.arguments.libtorch_worker], self.theirs)
        command = [self.arguments.python, os.path.join(HERE, "torch_worker.py")]
        return Worker(command + ["--compile"] * self.arguments.compile + ["--cuda"] * (self.arguments.device == "cuda"), self.theirs)


def processor_flags():
    return set(re.search(r"^flags\s*:(.*)$", open("/proc/cpuinfo").read(), re.M).group(1).split())


def in_turn(pairs, theirs, ours):
    """[(theirs(), ours()), ..] after one of each that does not count."""
    theirs(), ours()
    return [(theirs(), ours()) for _ in range(pairs)]


def check_agreement(row, ours, theirs, folder):
    if row.peer == "libtorch":
        a, b = ([float(text) for text in side.ask("values").split()] for side in (ours, theirs))
        same_length = len(a) == len(b)
        worst = max(abs(x - y) for x, y in zip(a, b)) / max(map(abs, b)) if same_length else float("inf")
    else:
        path = os.path.join(folder, "results.safetensors")
        ours.ask("save", path)
        worst = float(theirs.ask("compare", path))
        os.remove(path)
    if not worst <= row.agreement:
        raise RuntimeError(f"{row.title}: the results differ by {worst:.1e}, more than {row.agreement:.0e}")
    return worst


def measure_time(row, sides, ours, theirs):
    for side in (ours, theirs):
        side.ask("prepare", row.work)
    difference = check_agreement(row, ours, theirs, sides.arguments.folder)

    def run_ours():
        sides.distances.append(float(ours.ask("distance")))
        return ours.run(row)

    return in_turn(sides.arguments.pairs, lambda: theirs.run(row), run_ours), difference


def measure_memory(row, sides):
    def peak(start):
        with start() as worker:
            worker.ask("prepare", row.work)
            worker.ask("run", 0, 4)
            return 1024 * float(worker.ask("peak"))

    return [(peak(lambda: sides.start_theirs(row.peer)), peak(sides.start_ours)) for _ in range(2)], None


def seconds_of(command, environment):
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, shell=isinstance(command, str))
    return 1e9 * (time.perf_counter() - start)


def measure_start(row, sides):
    def first_step(start):
        begin = time.perf_counter()
        with start() as worker:
            worker.ask("prepare", row.work)
            worker.ask("run", 0, 1)
            return 1e9 * (time.perf_counter() - begin)

    a = sides.arguments
    if row.peer == "libtorch":
        theirs = lambda: seconds_of([a.libtorch_char, "1"], sides.theirs)
        ours = lambda: seconds_of([a.char, "1"], sides.ours)
    else:
        theirs, ours = lambda: first_step(lambda: sides.start_theirs("torch")), lambda: first_step(sides.start_ours)
    return in_turn(a.pairs, theirs, ours), None


def measure_compile(row, sides):
    a, environment = sides.arguments, {**os.environ, "CCACHE_DISABLE": "1"}
    compile_theirs = lambda: seconds_of(a.compile_libtorch_char, environment)
    return in_turn(3, compile_theirs, lambda: seconds_of(a.compile_char, environment)), None


def measure(rows, sides):
    """Yields (row, pairs, difference of the results)."""
    ours = theirs = peer = None
    for row in rows:
        print(f"{row.title} ..", file=sys.stderr, flush=True)
        if row.kind != "time":
            yield (row, *{"memory": measure_memory, "start": measure_start, "compile": measure_compile}[row.kind](row, sides))
            continue
        if peer != row.peer:
            for worker in filter(None, (ours, theirs)):
                worker.close()
            ours, theirs, peer = sides.start_ours(), sides.start_theirs(row.peer), row.peer
        yield (row, *measure_time(row, sides, ours, theirs))
    for worker in filter(None, (ours, theirs)):
        worker.close()


def quantity(value, kind):
    if kind == "memory":
        return f"{value / 2**20:.0f} MiB"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g} ns"


def verdict(row, ratio):
    if not row.must:
        return ""
    if ratio < row.must:
        return f"missed by {100 * (1 - ratio / row.must):.0f}%"
    return "reaches the aim" if row.aim and ratio >= row.aim else "holds"


def table_line(row, pairs, difference):
    ratios = sorted(a / b for a, b in pairs)
    ratio = statistics.median(ratios)
    theirs, ours = (quantity(statistics.median(side), row.kind) for side in zip(*pairs))
    must, aim = (f"{asked:g}" if asked else "" for asked in (row.must, row.aim))
    agreement = "" if difference is None else f"{difference:.0e}"
    return (
        f"| {row.title} | {theirs} | {ours} | **{ratio:.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) | {must} | {aim} "
        f"| {verdict(row, ratio)} | {agreement} |"
    )


HEADER = [
    "| work | PyTorch | Norma | ratio (range) | must hold | aim | | results differ by |",
    "| --- | --- | --- | --- | --- | --- | --- | --- |",
]


def describe(sides, rows):
    a, processor = sides.arguments, re.search(r"model name\s*:\s*(.*)", open("/proc/cpuinfo").read()).group(1)
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in processor_flags()]
    lines = [
        f"{datetime.date.today()}, {processor} ({os.cpu_count()} cores; {', '.join(wide)}), {a.threads} threads on both "
        f"sides, {a.pairs} pairs in turn."
    ]
    if any(row.peer == "torch" for row in rows):
        with sides.start_theirs("torch") as theirs:
            lines[0] += f" Peer: {theirs.ask('about')}."
    return lines


def profile_table(rows, sides):
    """Shares of the ops in Norma's own whole steps, those of 1% or more in one of them."""
    shares, totals = {}, []
    for row in rows:
        with sides.start_ours() as ours:
            ours.ask("prepare", row.work)
            column = {}
            for entry in ours.ask("profile", 5).split(";"):
                name, phase, share = entry.split("|")
                column[name, phase] = float(share)
        totals.append(column)
        for op, share in column.items():
            shares[op] = max(share, shares.get(op, 0))
    lines = [
        "Where the time of Norma's step goes (`--profile`; shares of the whole, ops of 1% or more):",
        "",
        "| op | phase | " + " | ".join(re.split(r", | \(", row.title)[1] for row in rows) + " |",
        "| --- | --- |" + " --- |" * len(rows),
    ]
    for op in sorted((op for op in shares if shares[op] >= 0.01), key=lambda op: -shares[op]):
        cells = " | ".join(f"{100 * column.get(op, 0):.1f}%" for column in totals)
        lines.append(f"| {op[0]} | {op[1]} | {cells} |")
    return lines


def write_into(path, mark, lines):
    """Replaces what stands between the two marker lines of the page."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = open(path).read()
    if text.count(begin) != 1 or text.count(end) != 1:
        sys.exit(f"bench-peers: {path} needs the lines {begin} and {end}, once each")
    before, after = text.split(begin)[0], text.split(end)[1]
    open(path, "w").write(f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", required=True, help="Norma's side")
    parser.add_argument("--python", help="with torch and numpy; without it: no rows against PyTorch from Python")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for the rows that can be timed there")
    parser.add_argument("--compile", action="store_true", help="whole steps by torch.compile")
    parser.add_argument("--blas-folder", help="of the OpenBLAS that PyTorch is to use")
    parser.add_argument("--libtorch-worker", help="without it: no rows against libtorch C++")
    parser.add_argument("--char", help="the char program on Norma")
    parser.add_argument("--libtorch-char", help="the same on libtorch")
    parser.add_argument("--compile-char", help="shell command that compiles the one ..")
    parser.add_argument("--compile-libtorch-char", help=".. and the other")
    parser.add_argument("--folder", default=".", help="for files on the way")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--basic", action="store_true", help="the basic ops one by one, instead of the table of targets")
    parser.add_argument("--rows", default="", help="regular expression: only rows whose title it fits")
    parser.add_argument("--write", help="page whose table is replaced")
    parser.add_argument("--mark", help="name in its marker lines")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    here = {"torch": bool(arguments.python), "libtorch": bool(arguments.libtorch_worker)}
    table = BASIC_ROWS if arguments.basic else ROWS
    can_run = lambda row: row.needs in ["", *processor_flags()]
    if arguments.device != "cpu":
        can_run = lambda row: row.peer == "torch" and row.kind == "time" and not row.needs
    rows = [row for row in table if here[row.peer] and can_run(row) and re.search(arguments.rows, row.title)]
    if arguments.device != "cpu":  # what is asked for is asked of the CPU
        rows = [dataclasses.replace(row, must=0, aim=0) for row in rows]
    if arguments.write and arguments.rows:
        sys.exit("bench-peers: only a whole table is written into a page; leave the choice of rows out")
    sides = Sides(arguments)
    lines = describe(sides, rows) + [""] + HEADER
    print("\n".join(lines), flush=True)
    for result in measure(rows, sides):
        lines.append(table_line(*result))
        print(lines[-1], flush=True)
    if sides.distances:
        far = sum(ns > 100 for ns in sides.distances)
        lines += ["", f"From core to core: {statistics.median(sides.distances):.0f} ns; more than 100 ns before {far} of {len(sides.distances)} samples."]
        print(lines[-1], flush=True)
    whole = [row for row in rows if row.work.startswith("gpt/") and row.kind == "time"]
    profile = ["", *profile_table(whole, sides)] if whole else []
    print("\n".join(profile), flush=True)
    if arguments.write:
        for row in table:
            absent = row.peer if not here[row.peer] else row.needs if arguments.device == "cpu" and not can_run(row) else ""
            if absent:
                lines.append(f"| {row.title} | | | not measured: no {absent} here | {row.must:g} | {row.aim or ''} | | |")
        write_into(arguments.write, arguments.mark or ("bench-peers-basic" if arguments.basic else "bench-peers"), lines + profile)


main()
