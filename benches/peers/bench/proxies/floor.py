"""The floor: the least that any server could do for a request. See instruments/src/responder.rs."""

from bench.proxies.base import Proxy


class Floor(Proxy):
    name = "floor"
    instruments = None
    """The path of the built instruments, set once they are."""

    @classmethod
    def path(cls):
        return cls.instruments

    @classmethod
    def version(cls):
        return "benches/peers/instruments"

    @classmethod
    def cannot(cls, setting):
        return "it speaks no TLS" if setting.tls else None

    def configure(self):
        pass

    def command(self):
        return [self.path(), "floor", "--listen", f"127.0.0.1:{self.port}", "--bytes", self.setting.bytes]
