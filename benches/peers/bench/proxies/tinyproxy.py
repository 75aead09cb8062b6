"""tinyproxy, which relays and caches nothing: a thread for each tunnel."""

from bench.proxies.base import Proxy


class Tinyproxy(Proxy):
    name = "tinyproxy"
    package = "tinyproxy"
    program = "tinyproxy"
    version_command = ("-v",)

    def configure(self):
        self.write(
            "tinyproxy.conf",
            f"""Port {self.port}
Listen 127.0.0.1
Timeout 3600
MaxClients {self.setting.connections}
Allow 127.0.0.0/8
ConnectPort {self.origin_port}
LogLevel Critical
LogFile "{self.directory}/tinyproxy.log"
PidFile "{self.directory}/tinyproxy.pid"
""",
        )

    def command(self):
        return [self.path(), "-d", "-c", self.directory / "tinyproxy.conf"]
