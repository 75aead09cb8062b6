"""larder, as `larder serve --reverse` would have it, with a file where a row needs what flags cannot say."""

import hashlib

from bench.proxies.base import Proxy


class Larder(Proxy):
    name = "larder"
    program = "larder"
    version_command = ("--version",)
    binary = None

    @classmethod
    def of(cls, name, binary):
        """A build of larder under a name of its own, to compare several in one run."""
        return type("Larder", (cls,), {"name": name, "binary": binary})

    @classmethod
    def path(cls):
        return cls.binary

    @classmethod
    def missing(cls):
        return None

    @classmethod
    def version(cls):
        # Two builds of a version are told apart by what they are.
        digest = hashlib.sha256(cls.path().read_bytes()).hexdigest()[:12]
        return f"{super().version()} (SHA-256 {digest}…)"

    def configure(self):
        setting = self.setting
        lines = [
            f"workers = {setting.workers}",
            "[[listener]]",
            f'address = "127.0.0.1:{self.port}"',
        ]
        if not setting.tunnels:
            lines += ['kind = "reverse"', f'origin = "http://127.0.0.1:{self.origin_port}"']
        if setting.tls:
            lines += [
                f'tls_certificate = "{setting.certificate.certificate}"',
                f'tls_key = "{setting.certificate.key}"',
            ]
        lines += [
            "[cache]",
            f'dir = "{self.directory}/cache"',
            'disk = "20GiB"',
            'memory = "2GiB"',
            "[limits]",
            f"connections = {setting.connections + 1024}",
            f"connections_per_client = {setting.connections + 1024}",
            'keep_alive_timeout = "1d"',
        ]
        if setting.tunnels:
            lines += ["[access]", 'allow_destinations = ["127.0.0.0/8"]', f"connect_ports = [{self.origin_port}]"]
        if setting.access_log:
            lines += ["[log]", f'access = "{self.access_log()}"', 'format = "combined"']
        self.write("larder.toml", "\n".join(lines) + "\n")

    def command(self):
        return [self.path(), "serve", "--config", self.directory / "larder.toml"]

    def is_hit(self, fields):
        return "hit" in fields.get("cache-status", "")
