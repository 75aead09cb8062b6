#!/usr/bin/env python3
"""How fast the simulator is on one thread, beside the Python package libcachesim (which is C) in the same run.

    pip install libcachesim==0.3.5
    cargo build --release -p larder-simulator --example speed
    benches/simulator.py TRACE [--share 0.1] [--rounds 5]

TRACE is libCacheSim's oracleGeneral, uncompressed. Both read it from its file, which is in the page cache. Each
round runs every policy once with each of the two, in turn; shown is the best of all rounds, in million requests a
second, and whether larder's share of the other's is what it should be. Fails when one is not.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

import libcachesim

# Larder's name, the package's class, and how many times as fast larder must be.
POLICIES = [
    ("lru", libcachesim.LRU, 0.9),
    ("sieve", libcachesim.Sieve, 0.9),
    ("s3-fifo", libcachesim.S3FIFO, 0.9),
    ("gdsf", libcachesim.GDSF, 1.5),
    ("w-tinylfu", libcachesim.WTinyLFU, 1.5),
]
MEMORY_MAX = 64
SPEED = Path(__file__).parent.parent / "target/release/examples/speed"


def footprint(trace):
    """Sum of the sizes of the distinct objects, and the number of requests."""
    sizes, requests = {}, 0
    data = Path(trace).read_bytes()
    for at in range(0, len(data) - 23, 24):
        sizes.setdefault(data[at + 4 : at + 12], int.from_bytes(data[at + 12 : at + 16], "little"))
        requests += 1
    return sum(sizes.values()), requests


def theirs(cache, trace, capacity, requests):
    cache = cache(cache_size=capacity, hashpower=20)
    reader = libcachesim.TraceReader(trace, libcachesim.TraceType.ORACLE_GENERAL_TRACE)
    begun = time.perf_counter()
    cache.process_trace(reader)
    return requests / (time.perf_counter() - begun)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("trace")
    arguments.add_argument("--share", type=float, default=0.1)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    size, requests = footprint(given.trace)
    capacity = int(given.share * size)
    best, memory = {}, {}
    for _ in range(given.rounds):
        for name, cache, _ in POLICIES:
            run = [SPEED, given.trace, str(capacity), name]
            _, own, _, _, bytes_an_object = subprocess.run(run, check=True, capture_output=True, text=True).stdout.split()
            other = theirs(cache, given.trace, capacity, requests)
            before = best.get(name, (0, 0))
            best[name] = (max(before[0], float(own)), max(before[1], other))
            memory[name] = float(bytes_an_object)
    holds = True
    for name, _, least in POLICIES:
        own, other = best[name]
        held = own >= least * other and memory[name] <= MEMORY_MAX
        holds &= held
        print(
            f"{'holds' if held else 'FAILS'}: {name:<10} larder {own / 1e6:6.2f}, libcachesim {other / 1e6:6.2f}: "
            f"{own / other:5.2f} x (at least {least}), {memory[name]:.1f} bytes an object"
        )
    sys.exit(not holds)


if __name__ == "__main__":
    main()
