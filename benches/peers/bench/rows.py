"""The rows of the table: what is asked for, of whom, and what larder aims at."""

from dataclasses import dataclass, field

from bench.load import Client, Urls, Wrk
from bench.proxies.base import Setting

KIB, MIB = 1 << 10, 1 << 20
CACHES = ("nginx", "haproxy", "varnish", "trafficserver", "squid")


@dataclass(frozen=True)
class Aim:
    """What larder should reach, as ratios; what is not given is not aimed at."""

    best_peer: float | None = None
    floor: float | None = None
    p99_no_worse: bool = False

    def text(self):
        parts = []
        if self.best_peer:
            parts.append(f"≥ {self.best_peer:g} × the best peer")
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
    measure: str = "requests"
    """What is counted, `requests` or `bytes`."""
    asks_origin: bool = False
    """Whether each request should reach the origin (a miss), or none should (a hit)."""

    @property
    def urls(self):
        return self.load.urls


def hit(key, group, title, bytes, aim, count=1, **more):
    return Row(key, group, title, Wrk(Urls("store", bytes, count)), Setting(bytes=bytes), aim, **more)


def large(key, title, bytes, connections):
    load = Client(Urls("store", bytes), connections)
    return Row(key, "large", title, load, Setting(bytes=bytes), Aim(1.0), measure="bytes")


ROWS = [
    hit("hit-1k", "small", "1 KiB hit, one URL, 64 connections", KIB, Aim(1.05, 0.8, True)),
    hit("hit-1k-20000", "small", "1 KiB hits, 20,000 URLs", KIB, Aim(1.05), count=20_000),
    hit("hit-16k", "small", "16 KiB hit", 16 * KIB, Aim(1.05)),
    hit("hit-64k", "small", "64 KiB hit", 64 * KIB, Aim(1.05)),
    large("hit-1m", "1 MiB hit, 16 connections", MIB, 16),
    large("hit-8m", "8 MiB hit, 16 connections", 8 * MIB, 16),
    large("hit-100m", "100 MiB hit, 4 connections", 100 * MIB, 4),
]
GROUPS = list(dict.fromkeys(row.group for row in ROWS))
