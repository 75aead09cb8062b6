"""One row: all its proxies started and warmed, then taken in turns, round after round."""

import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Outcome
from bench.process import Failure
from bench.verify import Head, verify

WARM_RUNS = 30
"""A load that still asks the origin after so many runs of a second never becomes one of hits."""
BUSY = 0.85
"""A server with less to do than this share of the time was not what held the load up."""
STALL = 0.035
"""Seconds: near the 40 ms for which a delayed acknowledgement can hold a segment back."""
STALLED = 10
"""A p99 that is so many times the p50 as well is no busy machine's alone."""


@dataclass
class Context:
    """What all rows share."""

    scratch: Path
    instruments: Path
    origin: object
    server_cores: tuple
    load_cores: tuple
    seconds: int
    rounds: int
    say: object
    client_environment: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """One proxy in one round."""

    outcome: Outcome
    cpu: float
    """Seconds of processor that the server used."""
    server_busy: float
    """The share of the time in which it ran, or would have if its core had been free."""
    origin_requests: int

    def amount(self, what):
        return getattr(self.outcome, what)

    def per_cpu(self, what):
        return self.amount(what) / self.cpu

    def rate(self, what):
        return self.amount(what) / self.outcome.seconds


@dataclass
class Result:
    """What came of a row."""

    row: object
    turns: dict
    """By proxy, one for each round."""
    heads: dict
    left_out: dict
    """By proxy, why."""


def measure(context, row, kinds):
    """Measures one row; `kinds` are the proxies to measure in it."""
    result = Result(row, {}, {}, {})
    proxies = []
    try:
        for kind in kinds:
            reason = kind.cannot(row.setting)
            if reason:
                result.left_out[kind.name] = reason
                continue
            proxy = kind(row.setting, context.scratch / row.key / kind.name, context.origin.port)
            proxies.append(proxy)
            proxy.start()
            if not row.asks_origin:
                warm(context, row, proxy)
            result.heads[proxy.name] = verify(proxy, row.urls, hits=not row.asks_origin)
            result.turns[proxy.name] = []
            proxy.running.pause()
        for number in range(context.rounds):
            shift = number % len(proxies)
            for proxy in proxies[shift:] + proxies[:shift]:
                context.say(f"{row.key}: round {number + 1} of {context.rounds}, {proxy.name}")
                proxy.running.resume()
                result.turns[proxy.name].append(take_turn(context, row, proxy, result.heads[proxy.name], number))
                verify(proxy, row.urls, hits=not row.asks_origin)
                proxy.running.pause()
    finally:
        for proxy in proxies:
            proxy.stop()
    return result


def warm(context, row, proxy):
    """Runs the load until it asks the origin for nothing, twice: what was read from disk is in memory then."""
    quiet = 0
    for _ in range(WARM_RUNS):
        context.say(f"{row.key}: warming {proxy.name}")
        before = context.origin.requests()
        row.load.run(context, proxy, 1, "warm")
        quiet = quiet + 1 if context.origin.requests() == before else 0
        if quiet == 2:
            return
    raise Failure(f"{proxy.name}: {row.title}: the origin is asked however often the same is asked for")


def take_turn(context, row, proxy, head, number):
    before_origin = context.origin.requests()
    pids = proxy.running.pids()
    before = proxy.running.usage(pids)
    outcome = row.load.run(context, proxy, context.seconds, f"{proxy.name}-{number}-")
    after = proxy.running.usage(pids)
    asked = context.origin.requests() - before_origin
    turn = Turn(outcome, after.cpu - before.cpu, outcome.server_busy, asked)
    check_counts(row, proxy, head, turn)
    return turn


def check_counts(row, proxy, head, turn):
    """Every answer has the right length if their sum does, as no shorter one counts as complete."""
    outcome, connections = turn.outcome, row.load.connections
    size = row.setting.bytes + (head.bytes if row.load.counts_heads else 0)
    # Age and the like make some heads a little longer; what came of the last answers counts as bytes alone.
    least, most = outcome.requests * (size - 24), (outcome.requests + connections) * (size + 24)
    if not least <= outcome.bytes <= most:
        raise Failure(f"{proxy.name}: {outcome.bytes} bytes for {outcome.requests} answers of some {size}")
    if proxy.name == "floor":
        return
    if row.asks_origin and not outcome.requests <= turn.origin_requests <= outcome.requests + connections:
        raise Failure(f"{proxy.name}: {outcome.requests} answers, {turn.origin_requests} from the origin: not all are misses")
    if not row.asks_origin and turn.origin_requests:
        raise Failure(f"{proxy.name}: {turn.origin_requests} of {outcome.requests} requests were no hits")
