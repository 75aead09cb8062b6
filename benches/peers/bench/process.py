"""Programs under measurement: on cores of their own, stopped while it is another's turn; and what they used."""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

FILES = 100_000
AUTOGROUP = Path("/proc/self/autogroup")
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """Something that makes a measurement impossible or worthless; the text says what and where to look."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def more_files():
    """Ten thousand connections, or open files of a cache, need descriptors, in the programs that are started too."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, FILES), max(most, FILES)))
    except ValueError:  # the hard limit can be raised by few
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextlib.contextmanager
def niced(niceness):
    """With this niceness for this process and all that it starts; as it was without one."""
    if niceness is None:
        yield
        return
    before = os.getpriority(os.PRIO_PROCESS, 0)
    Program.niceness = niceness
    try:
        be_nice(niceness)
    except PermissionError:
        raise Failure(f"--nice {niceness}: only root may") from None
    try:
        yield
    finally:
        be_nice(before)


def be_nice(niceness):
    """For this process, and for its session where sessions are what processors are shared between."""
    os.setpriority(os.PRIO_PROCESS, 0, niceness)
    if AUTOGROUP.exists():
        AUTOGROUP.write_text(str(niceness))


def file_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@dataclass(frozen=True)
class Usage:
    """What the threads of some processes had used at one instant."""

    cpu: float
    """Seconds on a processor, in user and system mode, of threads that have ended too."""
    threads: dict
    """By thread: seconds on a processor, and seconds in which it could have run but had to wait for one."""
    at: float

    def busy_since(self, before, cores):
        """The least share of the cores' time since then that was taken or wanted: by all threads together, or by one
        that waited for its core as well. Near the whole there was no time to spare, whoever else wanted the core."""
        ran = most = 0.0
        for thread, (run, wait) in self.threads.items():
            begin_run, begin_wait = before.threads.get(thread, (0.0, 0.0))
            ran += run - begin_run
            most = max(most, run - begin_run + wait - begin_wait)
        return min(1.0, max(ran, most) / (self.at - before.at) / cores)


class Program:
    """A process and its descendants."""

    niceness = None
    """Of all that is started, where it is not what it would be."""

    def __init__(self, command, cores, log, environment=None, output=None, held=False):
        self.log = Path(log)
        self.command = [str(part) for part in command]
        self.cores = {int(core) for core in cores}
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                self.command,
                # One that is held goes on until its standard input ends.
                stdin=subprocess.PIPE if held else subprocess.DEVNULL,
                stdout=output or errors,
                stderr=errors,
                env={**os.environ, "RUST_BACKTRACE": "0", **(environment or {})},
                preexec_fn=self.settle,
                start_new_session=True,
            )

    def settle(self):
        """In the new process."""
        os.sched_setaffinity(0, self.cores)
        if self.niceness is not None:
            be_nice(self.niceness)

    def pids(self):
        """The process and all that it started, and they in turn."""
        children = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
        found, wanted = [], [self.process.pid]
        while wanted:
            pid = wanted.pop()
            found.append(pid)
            wanted += children.get(pid, [])
        return found

    def usage(self, pids=None):
        cpu, threads = 0.0, {}
        for pid in pids or self.pids():
            try:
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                cpu += (int(fields[11]) + int(fields[12])) / TICKS
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    ran, waited, _ = (thread / "schedstat").read_text().split()
                    threads[thread.name] = int(ran) / 1e9, int(waited) / 1e9
            except OSError:
                continue
        return Usage(cpu, threads, time.monotonic())

    def memory(self):
        """Bytes of user space memory: the proportional share, so that pages which processes share count once."""
        total = 0
        for pid in self.pids():
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            total += sum(int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:"))
        return total

    def wait_for_port(self, port, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                pass
            if self.process.poll() is not None:
                code = self.process.returncode
                raise Failure(f"{self.command[0]} ended with {code}; {self.log} says:\n{self.tail()}")
            if time.monotonic() > deadline:
                raise Failure(f"{self.command[0]} does not listen on port {port}; {self.log} says:\n{self.tail()}")
            time.sleep(0.05)

    def tail(self):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])

    def signal(self, number):
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def pause(self):
        """Idle programs wake up now and then; a stopped one does not."""
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)

    def stop(self):
        pids = self.pids()
        self.resume()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
