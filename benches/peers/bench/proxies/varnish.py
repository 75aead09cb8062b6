"""Varnish with its memory storage. Its shared memory log is always written: it is how Varnish is looked into."""

from bench.proxies.base import Proxy


class Varnish(Proxy):
    name = "varnish"
    package = "varnish"
    program = "varnishd"
    version_command = ("-V",)

    @classmethod
    def cannot(cls, setting):
        return "another program writes its log to a file, when it finds time" if setting.access_log else None

    def configure(self):
        self.write(
            "default.vcl",
            f"""vcl 4.1;
backend origin {{ .host = "127.0.0.1"; .port = "{self.origin_port}"; }}
""",
        )

    def command(self):
        parameters = {
            "thread_pools": self.setting.workers,
            "thread_pool_min": 200,
            "thread_pool_max": 1000,
            # The child is stopped while it is another's turn, and must not be taken for dead.
            "ping_interval": 0,
            "timeout_idle": 3600,
            "listen_depth": 4096,
        }
        command = [self.path(), "-F", "-j", "none", "-n", self.directory / "state", "-T", "none"]
        command += ["-a", f"127.0.0.1:{self.port}", "-f", self.directory / "default.vcl", "-s", "malloc,4g"]
        for parameter, value in parameters.items():
            command += ["-p", f"{parameter}={value}"]
        return command

    def is_hit(self, fields):
        # On a hit it names two transactions: this one, and the one that fetched.
        return len(fields.get("x-varnish", "").split()) == 2
