"""What puts a proxy to work: a closed loop that keeps it busy, counts the answers and times them."""

import json
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.certificate import GROUP, SUITE
from bench.process import Failure, Program
from bench.proxies.base import HOST

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Outcome:
    """What one run of a load saw."""

    requests: int
    bytes: int
    seconds: float
    p50: float | None
    p99: float | None
    most: float | None
    """The longest any request took, in seconds, as p50 and p99 are."""
    load_busy: float = 0.0
    """The share of the time in which the load generator ran, or would have if its core had been free."""
    server_busy: float = 0.0
    """The same for the server."""


@dataclass(frozen=True)
class Urls:
    """Which paths are asked for."""

    kind: str
    """`store` where the origin lets the answer be stored, `pass` where it does not."""
    bytes: int
    count: int = 1
    """How many, asked for in a shuffled order over and over; 0 is a new one with each request."""

    def prefix(self, mark=""):
        return f"/{self.kind}/{self.bytes}/{mark}"

    def sample(self, most=20):
        if self.count <= 1:
            return [self.prefix("one" if self.count else "sample")]
        step = max(1, self.count // most)
        return [self.prefix() + str(number) for number in range(0, self.count, step)]


class Wrk:
    """wrk, for bodies small enough that its reads of 8 KiB do not hold it up."""

    package = "wrk"
    program = "wrk"
    counts_heads = True
    """Whether the bytes it counts are those of heads too."""

    def __init__(self, urls, connections=64, seconds=None):
        self.urls = urls
        self.connections = connections
        self.seconds = seconds
        """How long a run takes at most, where a longer one would write too much."""

    @classmethod
    def missing(cls):
        return None if shutil.which(cls.program) else f"no `{cls.program}` here; install the package {cls.package}"

    def run(self, context, proxy, seconds, mark):
        seconds = min(seconds, self.seconds or seconds)
        scheme = "https" if proxy.setting.tls else "http"
        urls = self.urls
        prefix = urls.prefix(mark if urls.count == 0 else "one" if urls.count == 1 else "")
        command = [shutil.which(self.program), "-c", self.connections, "-t", len(proxy.setting.load_cores)]
        command += ["-d", f"{seconds}s", "--latency", "-s", HERE / "wrk.lua"]
        command += ["-H", f"Host: {HOST}", f"{scheme}://127.0.0.1:{proxy.port}/"]
        environment = {"PREFIX": prefix, "URLS": str(urls.count), **context.client_environment}
        text, load_busy, server_busy = run_generator(context, command, environment, seconds, proxy)
        found = json.loads(text.strip().splitlines()[-1])
        trouble = found["wrong_status"] + found["errors"]
        if trouble:
            raise Failure(f"{trouble} of {found['requests']} requests failed:\n{text}")
        names = ("requests", "bytes", "seconds", "p50", "p99", "most")
        return Outcome(*(found[name] for name in names), load_busy, server_busy)


class Client:
    """The instruments' own client, for what wrk's small reads would hold up or it cannot do. It checks every answer."""

    counts_heads = False

    def __init__(self, urls, connections, fresh=False, seconds=None):
        self.urls = urls
        self.connections = connections
        self.fresh = fresh
        """A new connection for each request."""
        self.seconds = seconds

    @classmethod
    def missing(cls):
        return None

    def run(self, context, proxy, seconds, mark):
        seconds = min(seconds, self.seconds or seconds)
        command = [context.instruments, "client", "--to", f"127.0.0.1:{proxy.port}", "--host", HOST]
        command += ["--path", self.urls.prefix("one"), "--bytes", self.urls.bytes]
        command += ["--connections", self.connections, "--seconds", seconds]
        command += ["--fresh"] if self.fresh else []
        command += ["--tls"] if proxy.setting.tls else []
        if proxy.setting.tunnels and proxy.connects:
            command += ["--tunnel", f"127.0.0.1:{proxy.origin_port}"]
        command += ["--unmarked"] if proxy.name == "floor" else []
        text, load_busy, server_busy = run_generator(context, command, {}, seconds, proxy)
        return Outcome(**json.loads(text), load_busy=load_busy, server_busy=server_busy)


class H2load:
    """h2load: HTTP/2 over TLS, with many requests at a time on each connection."""

    package = "nghttp2-client"
    program = "h2load"
    counts_heads = False

    def __init__(self, urls, sessions, streams):
        self.urls = urls
        self.sessions = sessions
        self.streams = streams
        self.connections = sessions * streams

    @classmethod
    def missing(cls):
        return None if shutil.which(cls.program) else f"no `{cls.program}` here; install the package {cls.package}"

    def run(self, context, proxy, seconds, mark):
        command = [shutil.which(self.program), "-c", self.sessions, "-m", self.streams, "-t", 1, "-D", seconds]
        # It does not heed OpenSSL's configuration.
        command += [f"--tls13-ciphers={SUITE}", f"--groups={GROUP}"]
        command += [f"--connect-to=127.0.0.1:{proxy.port}", f"https://{HOST}{self.urls.prefix('one')}"]
        text, load_busy, server_busy = run_generator(context, command, {}, seconds, proxy)
        succeeded, failed = found(r"(\d+) succeeded, (\d+) failed", text)
        good, other = found(r"(\d+) 2xx, (.*)", text)
        # The heads of a few are there when the time is over, and their bodies are not.
        begun = int(good) - int(succeeded)
        if int(failed) or not 0 <= begun <= self.connections or other != "0 3xx, 0 4xx, 0 5xx":
            raise Failure(f"not every request succeeded:\n{text}")
        negotiated = ("TLS Protocol: TLSv1.3", f"Cipher: {SUITE}", f"Server Temp Key: {GROUP}")
        expected = (*negotiated, "Application protocol: h2")
        for line in expected:
            if line not in text:
                raise Failure(f"h2load did not say `{line}`:\n{text}")
        took, unit = found(r"finished in ([\d.]+)(ms|s),", text)
        (data,) = found(r"\((\d+)\) data", text)
        length = float(took) / (1000 if unit == "ms" else 1)
        return Outcome(int(succeeded), int(data), length, None, None, None, load_busy, server_busy)


def found(pattern, text):
    match = re.search(pattern, text)
    if not match:
        raise Failure(f"h2load said nothing like `{pattern}`:\n{text}")
    return match.groups()


def run_generator(context, command, environment, seconds, proxy):
    """Runs a load generator on its cores; what it wrote, and how busy it and the server were in the middle of it."""
    output = context.scratch / "load.out"
    with output.open("wb") as out:
        program = Program(command, proxy.setting.load_cores, context.scratch / "load.log", environment, out)
    sides = ((program, [program.process.pid]), (proxy.running, proxy.running.pids()))
    try:
        time.sleep(0.1 * seconds)
        before = [side.usage(pids) for side, pids in sides]
        time.sleep(0.5 * seconds)
        after = [side.usage(pids) for side, pids in sides]
        code = program.process.wait(seconds + 60)
    except subprocess.TimeoutExpired:
        raise Failure(f"{command[0]} does not end, a minute after its time") from None
    finally:
        program.stop()
    if code != 0:
        raise Failure(f"{command[0]} ended with {code}:\n{program.tail()}\n{output.read_text()}")
    busy = [
        end.busy_since(begin, len(side.cores)) for (side, _), begin, end in zip(sides, before, after, strict=True)
    ]
    return output.read_text(), *busy
