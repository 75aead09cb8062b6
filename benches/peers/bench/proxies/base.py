"""What every proxy has in common: how one is configured, started and recognised."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.process import Program, free_port

HOST = "bench.example"
"""The host that every request names: the key of what is cached does not depend on a port."""


@dataclass(frozen=True)
class Setting:
    """What a row asks of a proxy."""

    bytes: int = 1024
    """In each body."""
    on_disk: bool = False
    """Whether what is stored has to go to disk, in those that have a disk cache."""
    tunnels: bool = False
    """A forward proxy for CONNECT to the origin, instead of a reverse proxy before it."""
    workers: int = 1
    cores: tuple = ()
    load_cores: tuple = ()
    """Where the load for it runs."""
    tls: bool = False
    certificate: object = None
    """A `Certificate`, for a port that speaks TLS."""
    http2: bool = False
    access_log: bool = False
    connections: int = 1024
    """The most at a time."""


class Proxy:
    """One proxy, configured for one row, before one origin."""

    name = ""
    package = ""
    """The Debian package that has it."""
    program = ""
    version_command = ()
    workers = None
    """How many, where a row compares one with several."""
    connects = True
    """Whether it takes CONNECT; another relays whatever comes."""

    def __init__(self, setting, directory, origin_port):
        self.setting = setting
        self.directory = Path(directory)
        self.origin_port = origin_port
        self.port = free_port()
        self.running = None
        self.answered = 0
        """Requests that loads had answers to, in all its turns and before."""

    @classmethod
    def cannot(cls, setting):
        """Why it has no place in a row, in words; nothing where it has."""
        return None

    @classmethod
    def missing(cls):
        """What to install before it can be measured; nothing where it can."""
        return None if cls.path() else f"{cls.name}: no `{cls.program}` here; install the package {cls.package}"

    @classmethod
    def path(cls):
        return shutil.which(cls.program, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

    @classmethod
    def version(cls):
        done = subprocess.run([cls.path(), *cls.version_command], capture_output=True, text=True)
        lines = (done.stdout + done.stderr).strip().splitlines()
        return lines[0] if lines else "unknown"

    def configure(self):
        """Writes the configuration into the directory."""
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {}

    def is_hit(self, fields):
        """Whether the answer itself says that it came from the cache; nothing where this proxy's answers do not say."""
        return None

    def access_log(self):
        """Where the access log goes."""
        return self.directory / "access.log"

    def write(self, name, text):
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self):
        self.directory.mkdir(parents=True, mode=0o777)
        # Squid and Traffic Server give up root's rights, and write as another user.
        self.directory.chmod(0o777)
        self.configure()
        self.running = Program(
            self.command(), self.setting.cores, self.directory / "output.log", self.environment()
        )
        self.running.wait_for_port(self.port)

    def stop(self):
        if self.running:
            self.running.stop()
            self.running = None


def has_age(fields):
    """A fresh answer that was forwarded has no Age here: the origin sends none."""
    return "age" in fields
