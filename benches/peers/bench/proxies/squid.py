"""Squid with its memory cache, as an accelerator before one origin."""

import subprocess

from bench.process import Failure, file_limit
from bench.proxies.base import HOST, Proxy


class Squid(Proxy):
    name = "squid"
    package = "squid"
    program = "squid"
    version_command = ("-v",)

    def configure(self):
        setting = self.setting
        log = f"stdio:{self.access_log()}" if setting.access_log else "none"
        self.write(
            "squid.conf",
            f"""{self.forward() if setting.tunnels else self.reverse()}
http_access allow all
{f"cache_dir aufs {self.directory}/cache 8192 64 256" if setting.on_disk else ""}
cache_mem 2048 MB
maximum_object_size_in_memory {max(1024, 2 * setting.bytes // 1024)} KB
maximum_object_size 1 GB
access_log {log}
cache_store_log none
cache_log {self.directory}/cache.log
buffered_logs on
logfile_rotate 0
pid_filename {self.directory}/squid.pid
coredump_dir {self.directory}
max_filedescriptors {min(file_limit(), 65536)}
client_idle_pconn_timeout 1 day
pconn_lifetime 0 seconds
shutdown_lifetime 0 seconds
visible_hostname bench.example
pinger_enable off
""",
        )
        if setting.on_disk:
            (self.directory / "cache").mkdir()
            (self.directory / "cache").chmod(0o777)
            done = subprocess.run([*self.command(), "-z"], capture_output=True, text=True)
            if done.returncode:
                raise Failure(f"squid -z made no directories:\n{done.stderr}")

    def forward(self):
        return f"http_port 127.0.0.1:{self.port}"

    def reverse(self):
        return f"""http_port 127.0.0.1:{self.port} accel defaultsite={HOST} no-vhost
cache_peer 127.0.0.1 parent {self.origin_port} 0 no-query no-digest originserver name=origin
cache_peer_access origin allow all
never_direct allow all"""

    def command(self):
        return [self.path(), "-N", "-f", self.directory / "squid.conf"]

    def is_hit(self, fields):
        return fields.get("x-cache", "").startswith("HIT")
