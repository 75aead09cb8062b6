"""What an idle connection costs in memory: the difference that ten thousand make, for each of them."""

import json
import time
from dataclasses import dataclass
from statistics import median

from bench.load import Client, Urls
from bench.process import Failure, Program
from bench.proxies.base import HOST, Setting
from bench.verify import verify

CONNECTIONS = 10_000
AT_ONCE = 64
"""They are opened so many at a time, each asks once, and then all stay open."""
SETTLE = 1.0
"""Seconds for what is done after an answer."""


@dataclass
class Result:
    row: object
    idle: dict
    """By proxy and round: bytes without a connection but with one stored response."""
    each: dict
    """The same: bytes that each connection adds."""
    failed: dict
    """By proxy, what went wrong."""


class Memory:
    """The row."""

    key = "memory-idle"
    group = "memory"
    title = f"memory of an idle keep-alive connection, from 0 to {CONNECTIONS:,}"
    peers = ("nginx", "haproxy")
    load = Client(Urls("store", 1024), AT_ONCE)
    setting = Setting(connections=CONNECTIONS + 100)
    aim_bytes = 4096

    def kinds(self, kinds, larders):
        return [kind for kind in kinds if kind.name in (*self.peers, *larders)]

    def measure(self, context, kinds):
        result = Result(self, {}, {}, {})
        for number in range(context.rounds):
            for kind in kinds:
                context.say(f"{self.key}: round {number + 1} of {context.rounds}, {kind.name}")
                if kind.name in result.failed:
                    continue
                directory = context.directory(self, f"{kind.name}-{number}")
                proxy = kind(context.setting(self, kind), directory, context.origin.port)
                try:
                    before, after = self.grow(context, proxy)
                    result.idle.setdefault(kind.name, []).append(before)
                    result.each.setdefault(kind.name, []).append((after - before) / CONNECTIONS)
                except Failure as failure:
                    result.failed[kind.name] = str(failure)
                    result.each.pop(kind.name, None)
                finally:
                    proxy.stop()
        return result

    def grow(self, context, proxy):
        """Bytes before the connections and with them."""
        proxy.start()
        verify(proxy, self.load.urls, hits=False)
        verify(proxy, self.load.urls, hits=True)
        time.sleep(SETTLE)
        before = proxy.running.memory()
        command = [context.instruments, "client", "--to", f"127.0.0.1:{proxy.port}", "--host", HOST]
        command += ["--path", self.load.urls.prefix("one"), "--bytes", self.load.urls.bytes]
        command += ["--connections", AT_ONCE, "--hold", CONNECTIONS, "--seconds", 60]
        output = context.scratch / "hold.out"
        with output.open("wb") as out:
            holder = Program(command, (context.load_core,), context.scratch / "hold.log", output=out, held=True)
        try:
            deadline = time.monotonic() + 70
            while not output.read_text().endswith("\n"):
                if holder.process.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"{CONNECTIONS} connections cannot be held:\n{holder.tail()}")
                time.sleep(0.05)
            if json.loads(output.read_text())["requests"] != CONNECTIONS:
                raise Failure(f"not all of {CONNECTIONS} connections were answered within a minute")
            time.sleep(SETTLE)
            if holder.process.poll() is not None:
                raise Failure(f"a connection did not stay open:\n{holder.tail()}")
            return before, proxy.running.memory()
        finally:
            holder.stop()


def kib(values):
    return f"{median(values) / 1024:.2f} KiB"


def mib(values):
    return f"{median(values) / 2**20:.1f} MiB"
