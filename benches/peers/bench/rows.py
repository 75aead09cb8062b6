"""The rows of the table: what is asked for, of whom, and what larder aims at."""

from dataclasses import dataclass

from bench.load import Client, H2load, Urls, Wrk
from bench.measure import measure
from bench.memory import Memory
from bench.proxies.base import Setting

KIB, MIB = 1 << 10, 1 << 20
ENDLESS = 10**15
CACHES = ("nginx", "haproxy", "varnish", "trafficserver", "squid")
TLS = ("nginx", "haproxy")
RELAYS = ("haproxy", "squid", "tinyproxy")


@dataclass(frozen=True)
class Aim:
    """What larder should reach, as ratios; what is not given is not aimed at."""

    best_peer: float | None = None
    floor: float | None = None
    p99_no_worse: bool = False
    peers: tuple = ()
    """Which peers count; all of the row without it."""
    whom: str | None = None
    """In words, where it is not a peer."""

    def text(self):
        parts = []
        if self.best_peer:
            several = f"the best of {', '.join(self.peers)}" if len(self.peers) > 1 else "".join(self.peers)
            parts.append(f"≥ {self.best_peer:g} × {self.whom or several or 'the best peer'}")
        if self.floor:
            parts.append(f"≥ {self.floor:g} × the floor")
        if self.p99_no_worse:
            parts.append("p99 no worse")
        return ", ".join(parts)


@dataclass(frozen=True)
class Row:
    key: str
    group: str
    title: str
    load: object
    setting: Setting
    aim: Aim
    peers: tuple = CACHES
    floor: bool = True
    counted: str = "requests"
    """What is counted, `requests` or `bytes`."""
    asks_origin: bool = False
    """Whether each request should reach the origin (a miss), or none should (a hit)."""
    sample: Urls | None = None
    """What is looked at to see that a proxy does what it should, where that is not what the load asks for."""

    @property
    def urls(self):
        return self.sample or self.load.urls

    def kinds(self, kinds, larders):
        """Which of the wanted proxies are measured."""
        names = {*self.peers, *larders, *(("floor",) if self.floor else ())}
        return [kind for kind in kinds if kind.name in names]

    def measure(self, context, kinds):
        return measure(context, self, kinds)

    def shares_cores(self, name):
        """Whether a proxy and its load are on the same cores, so that neither can have all the time."""
        return False

    def contest(self, larder, names):
        """Whose figures are judged for a build of larder, and against whom."""
        peers = self.aim.peers or self.peers
        return larder, [name for name in names if name in peers]


class Workers(Row):
    """Each proxy twice: with one worker on a core of its own, and with two that share both cores with the load."""

    def kinds(self, kinds, larders):
        return [
            type(kind.__name__, (kind,), {"name": name, "workers": workers})
            for kind in super().kinds(kinds, larders)
            for name, workers in ((kind.name, 1), (twice(kind.name), 2))
        ]

    def shares_cores(self, name):
        return name.endswith(TWICE)

    def contest(self, larder, names):
        return twice(larder), [name for name in names if name == larder]


TWICE = ", 2 workers"


def twice(name):
    return name + TWICE


def hit(key, title, bytes, aim, count=1):
    return Row(key, "small", title, Wrk(Urls("store", bytes, count)), Setting(bytes=bytes), aim)


def large(key, title, bytes, connections, aim):
    load = Client(Urls("store", bytes), connections)
    return Row(key, "large", title, load, Setting(bytes=bytes), aim, counted="bytes")


def tls(key, title, bytes, load, counted="requests"):
    setting = Setting(bytes=bytes, tls=True)
    return Row(key, "tls", title, load, setting, Aim(1.0), peers=TLS, floor=False, counted=counted)


def tunnel(key, title, bytes, load, counted):
    setting = Setting(bytes=bytes, tunnels=True)
    return Row(
        key,
        "tunnel",
        title,
        load,
        setting,
        Aim(1.2),
        peers=RELAYS,
        floor=False,
        counted=counted,
        asks_origin=True,
        sample=Urls("pass", KIB, 0),
    )


def miss(key, title, bytes, seconds):
    load = Wrk(Urls("store", bytes, 0), seconds=seconds)
    aim = Aim(1.1, peers=("nginx", "trafficserver", "squid"))
    peers = ("nginx", "varnish", "trafficserver", "squid")
    setting = Setting(bytes=bytes, on_disk=True)
    return Row(key, "misses", title, load, setting, aim, peers=peers, floor=False, asks_origin=True)


def one_kib(count=1, kind="store"):
    return Wrk(Urls(kind, KIB, count))


ROWS = [
    hit("hit-1k", "1 KiB hit, one URL, 64 connections", KIB, Aim(1.05, 0.8, True)),
    hit("hit-1k-20000", "1 KiB hits, 20,000 URLs", KIB, Aim(1.05), count=20_000),
    hit("hit-16k", "16 KiB hit", 16 * KIB, Aim(1.05)),
    hit("hit-64k", "64 KiB hit", 64 * KIB, Aim(1.05)),
    large("hit-1m", "1 MiB hit, 16 connections", MIB, 16, Aim(1.0)),
    large("hit-8m", "8 MiB hit, 16 connections", 8 * MIB, 16, Aim(1.0)),
    large("hit-100m", "100 MiB hit, 4 connections", 100 * MIB, 4, Aim(1.0, peers=("nginx",))),
    tls("tls-1k", "1 KiB hit over TLS 1.3, keep-alive", KIB, one_kib()),
    tls("tls-1m", "1 MiB hit over TLS 1.3, 16 connections", MIB, Wrk(Urls("store", MIB), 16), "bytes"),
    tls("tls-new", "new TLS 1.3 connections, a hit each", KIB, Client(Urls("store", KIB), 64, fresh=True)),
    Row(
        "pass-1k",
        "pass",
        "1 KiB that may not be stored, passed through",
        # Many, as one that is asked for by all at once would have them wait for each other in some.
        one_kib(1000, "pass"),
        Setting(),
        Aim(1.0),
        floor=False,
        asks_origin=True,
    ),
    tunnel("tunnel-1", "CONNECT tunnel, 1 stream", KIB, Client(Urls("pass", ENDLESS), 1), "bytes"),
    tunnel("tunnel-64", "CONNECT tunnels, 64 streams", KIB, Client(Urls("pass", ENDLESS), 64), "bytes"),
    tunnel("tunnel-new", "new CONNECT tunnels", KIB, Client(Urls("pass", 1), 64, fresh=True), "requests"),
    Row(
        "h2-1k",
        "h2",
        "1 KiB hit over HTTP/2, 4 connections of 100 streams",
        H2load(Urls("store", KIB), 4, 100),
        Setting(tls=True, http2=True),
        Aim(1.0, peers=("nginx",)),
        peers=TLS,
        floor=False,
    ),
    Workers(
        "workers-2",
        "workers",
        "1 KiB hit, two workers and the load on both cores, beside one worker",
        one_kib(),
        Setting(),
        Aim(0.9, whom="itself with one"),
        peers=("nginx", "haproxy"),
        floor=False,
    ),
    Row(
        "log-1k",
        "log",
        "1 KiB hit, access log on",
        one_kib(),
        Setting(access_log=True),
        Aim(1.05, 0.8, True),
    ),
    Memory(),
    miss("miss-1k", "1 KiB misses, stored", KIB, None),
    miss("miss-64k", "64 KiB misses, stored", 64 * KIB, 1),
]
GROUPS = list(dict.fromkeys(row.group for row in ROWS))
