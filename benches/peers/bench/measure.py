"""One row: all its proxies started and warmed, then taken in turns, round after round."""

import dataclasses
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Outcome
from bench.process import Failure
from bench.verify import fetch, verify

LEAST_CPU = 0.1
"""Seconds: processor time is counted in hundredths."""
SAMPLE = 20
"""So many URLs of a run are looked at."""
WARM_RUNS = 30
"""A load that still asks the origin after so many runs of a second never becomes one of hits."""
BUSY = 0.85
"""A server with less to do than this share of the time was not what held the load up."""
LOG_SECONDS = 10
"""Logs are written in batches."""
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
    server_core: int
    load_core: int
    certificate: object
    seconds: int
    rounds: int
    say: object
    client_environment: dict = field(default_factory=dict)

    def directory(self, row, name):
        """A new one for a proxy in a row; nothing is removed before the end, as file systems are slow afterwards."""
        return self.scratch / row.key / re.sub(r"\W+", "-", name)

    def setting(self, row, kind):
        """A row's setting with the machine's part of it."""
        workers = kind.workers or row.setting.workers
        server, load = (self.server_core,), (self.load_core,)
        if workers > 1:
            server = load = (self.server_core, self.load_core)
        return dataclasses.replace(
            row.setting, workers=workers, cores=server, load_cores=load, certificate=self.certificate
        )


@dataclass(frozen=True)
class Turn:
    """One proxy in one round."""

    outcome: Outcome
    cpu: float
    """Seconds of processor that the server used."""
    origin_requests: int
    stored: float | None
    """Which share of what was missed is a hit now."""

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
            setting = context.setting(row, kind)
            reason = kind.cannot(setting)
            if reason:
                result.left_out[kind.name] = reason
                continue
            proxy = kind(setting, context.directory(row, kind.name), context.origin.port)
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
        if row.setting.access_log:
            for proxy in proxies:
                proxy.running.resume()
                check_log(proxy, sum(turn.outcome.requests for turn in result.turns[proxy.name]))
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
    mark = re.sub(r"\W+", "-", f"{proxy.name}-{number}-")
    if row.setting.on_disk:
        # What others wrote before is not written back at this one's expense.
        os.sync()
    before_origin = context.origin.requests()
    pids = proxy.running.pids()
    before = proxy.running.usage(pids)
    outcome = row.load.run(context, proxy, context.seconds, mark)
    after = proxy.running.usage(pids)
    asked = context.origin.requests() - before_origin
    if after.cpu - before.cpu < LEAST_CPU:
        raise Failure(f"{proxy.name}: too short a turn: it used {after.cpu - before.cpu:.2f} s of its processor; give more --seconds")
    stored = stored_share(context, row, proxy, mark, outcome.requests) if row.setting.on_disk else None
    turn = Turn(outcome, after.cpu - before.cpu, asked, stored)
    check_counts(row, proxy, head, turn)
    return turn


def stored_share(context, row, proxy, mark, requests):
    """How many of some of the URLs that were just fetched are hits now."""
    asked = max(1, requests // SAMPLE)
    # wrk makes up the first to look at it, and does not send it.
    numbers = range(2, requests + 1, asked)
    before = context.origin.requests()
    fetch(proxy, [row.load.urls.prefix(mark) + str(number) for number in numbers])
    return 1 - (context.origin.requests() - before) / len(numbers)


def check_counts(row, proxy, head, turn):
    """Every answer has the right length if their sum does, as no shorter one counts as complete."""
    outcome, connections = turn.outcome, row.load.connections
    size = row.load.urls.bytes + (head.bytes if row.load.counts_heads else 0)
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


def check_log(proxy, requests):
    """Whether the access log has a line for every request, a few seconds later."""
    if proxy.name == "floor":
        return
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        with proxy.access_log().open("rb") as log:
            lines = sum(1 for _ in log)
        if lines >= requests:
            return
        if time.monotonic() > deadline:
            raise Failure(f"{proxy.name}: {lines} lines in its access log for {requests} requests")
        time.sleep(0.2)
