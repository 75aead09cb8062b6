"""Squid with its memory cache, as an accelerator before one origin."""

from bench.process import file_limit
from bench.proxies.base import HOST, Proxy


class Squid(Proxy):
    name = "squid"
    package = "squid"
    program = "squid"
    version_command = ("-v",)

    def configure(self):
        setting = self.setting
        log = f"stdio:{self.directory}/access.log" if setting.access_log else "none"
        self.write(
            "squid.conf",
            f"""http_port 127.0.0.1:{self.port} accel defaultsite={HOST} no-vhost
cache_peer 127.0.0.1 parent {self.origin_port} 0 no-query no-digest originserver name=origin
cache_peer_access origin allow all
never_direct allow all
http_access allow all
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

    def command(self):
        return [self.path(), "-N", "-f", self.directory / "squid.conf"]

    def is_hit(self, fields):
        return fields.get("x-cache", "").startswith("HIT")
