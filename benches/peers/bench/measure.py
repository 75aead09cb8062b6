"""One row: all its proxies started and warmed, then taken in turns, round after round."""

import contextlib
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
"""A load that still asks the origin after so many runs never becomes one of hits."""
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
    """By proxy, why it has no place in the row."""
    failed: dict
    """By proxy, what went wrong."""


def measure(context, row, kinds):
    """Measures one row; `kinds` are the proxies to measure in it. One that fails leaves the row, not the others."""
    result = Result(row, {}, {}, {}, {})
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
            with leaving(result, proxies, proxy):
                prepare(context, row, proxy, result)
        for number in range(context.rounds):
            shift = number % max(1, len(proxies))
            for proxy in proxies[shift:] + proxies[:shift]:
                context.say(f"{row.key}: round {number + 1} of {context.rounds}, {proxy.name}")
                with leaving(result, proxies, proxy):
                    take_turn(context, row, proxy, result, number)
        for proxy in list(proxies) if row.setting.access_log else ():
            with leaving(result, proxies, proxy):
                proxy.running.resume()
                check_log(proxy)
    finally:
        for proxy in proxies:
            proxy.stop()
    return result


@contextlib.contextmanager
def leaving(result, proxies, proxy):
    """A proxy that fails is stopped, and has no figures in the row."""
    try:
        yield
    except Failure as failure:
        result.failed[proxy.name] = str(failure)
        result.turns.pop(proxy.name, None)
        proxies.remove(proxy)
        proxy.stop()


def prepare(context, row, proxy, result):
    """Starts and warms a proxy, and sees that it does what it should."""
    proxy.start()
    if not row.asks_origin:
        warm(context, row, proxy)
    result.heads[proxy.name] = verify(proxy, row.urls, hits=not row.asks_origin)
    result.turns[proxy.name] = []
    proxy.running.pause()


def warm(context, row, proxy):
    """Runs the load until it asks the origin for nothing, twice: what was read from disk is in memory then."""
    context.say(f"{row.key}: warming {proxy.name}")
    # Whole, once: a run may be too short for large bodies.
    fetch(proxy, row.urls.sample())
    seconds = context.seconds if row.counted == "bytes" else 1
    quiet = answers = 0
    for _ in range(WARM_RUNS):
        before = context.origin.requests()
        answered = row.load.run(context, proxy, seconds, "warm").requests
        proxy.answered += answered
        answers += answered
        quiet = quiet + 1 if answered and context.origin.requests() == before else 0
        if quiet == 2:
            return
    raise Failure(f"the origin is asked however often the same is asked for: {answers} answers in {WARM_RUNS} runs")


def take_turn(context, row, proxy, result, number):
    mark = re.sub(r"\W+", "-", f"{proxy.name}-{number}-")
    proxy.running.resume()
    if row.setting.on_disk:
        # What others wrote before is not written back at this one's expense.
        os.sync()
    before_origin = context.origin.requests()
    pids = proxy.running.pids()
    before = proxy.running.usage(pids)
    outcome = row.load.run(context, proxy, context.seconds, mark)
    cpu = proxy.running.usage(pids).cpu - before.cpu
    asked = context.origin.requests() - before_origin
    proxy.answered += outcome.requests
    if cpu < LEAST_CPU:
        raise Failure(f"it used only {cpu:.2f} s of processor in a turn; give more --seconds, or a less busy machine")
    check_counts(row, proxy, result.heads[proxy.name], outcome, asked)
    stored = stored_share(context, row, proxy, mark, outcome.requests) if row.setting.on_disk else None
    verify(proxy, row.urls, hits=not row.asks_origin)
    proxy.running.pause()
    result.turns[proxy.name].append(Turn(outcome, cpu, asked, stored))


def stored_share(context, row, proxy, mark, requests):
    """How many of some of the URLs that were just fetched are hits now."""
    asked = max(1, requests // SAMPLE)
    # wrk makes up the first to look at it, and does not send it.
    numbers = range(2, requests + 1, asked)
    before = context.origin.requests()
    fetch(proxy, [row.load.urls.prefix(mark) + str(number) for number in numbers])
    return 1 - (context.origin.requests() - before) / len(numbers)


def check_counts(row, proxy, head, outcome, asked):
    """Every answer has the right length if their sum does, as no shorter one counts as complete."""
    connections = row.load.connections
    size = row.load.urls.bytes + (head.bytes if row.load.counts_heads else 0)
    # Age and the like make some heads a little longer; what came of the last answers counts as bytes alone.
    least, most = outcome.requests * (size - 24), (outcome.requests + connections) * (size + 24)
    if not least <= outcome.bytes <= most:
        raise Failure(f"{outcome.bytes} bytes for {outcome.requests} answers of some {size}")
    if proxy.name == "floor":
        return
    if row.asks_origin and not outcome.requests <= asked <= outcome.requests + connections:
        raise Failure(f"{outcome.requests} answers, {asked} from the origin: not all are misses")
    if not row.asks_origin and asked:
        raise Failure(f"{asked} of {outcome.requests} requests were no hits")


def check_log(proxy):
    """Whether the access log has a line for every request, a few seconds later."""
    if proxy.name == "floor":
        return
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        with proxy.access_log().open("rb") as log:
            lines = sum(1 for _ in log)
        if lines >= proxy.answered:
            return
        if time.monotonic() > deadline:
            raise Failure(f"{lines} lines in its access log for {proxy.answered} requests")
        time.sleep(0.2)
