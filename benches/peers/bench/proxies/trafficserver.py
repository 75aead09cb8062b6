"""Traffic Server with its RAM cache before its disk cache.

Its answers do not say whether they are hits; the origin's count does.
"""

import os

from bench.proxies.base import HOST, Proxy

IP_ALLOW = """ip_allow:
  - apply: in
    ip_addrs: 127.0.0.0/8
    action: allow
    methods: ALL
"""
LOGGING = """logging:
  formats:
    - name: combined
      format: '%<chi> - %<caun> [%<cqtn>] "%<cqtx>" %<pssc> %<pscl> "%<{Referer}cqh>" "%<{User-Agent}cqh>"'
  logs:
    - filename: access
      format: combined
      mode: ascii
"""


class TrafficServer(Proxy):
    name = "trafficserver"
    package = "trafficserver"
    program = "traffic_server"
    version_command = ("--version",)

    def configure(self):
        setting, directory = self.setting, self.directory
        layout = {
            "prefix": directory,
            "exec_prefix": directory,
            "bindir": "/usr/bin",
            "sbindir": "/usr/sbin",
            "sysconfdir": directory / "etc",
            "datadir": directory / "share",
            "includedir": directory,
            "libdir": "/usr/lib/trafficserver",
            "libexecdir": "/usr/lib/trafficserver/modules",
            "localstatedir": directory / "var",
            "runtimedir": directory / "run",
            "logdir": directory / "log",
            "mandir": directory,
            "infodir": directory,
            "cachedir": directory / "cache",
        }
        for name in ("etc", "share", "var", "run", "log", "cache"):
            (directory / name).mkdir()
            (directory / name).chmod(0o777)
        self.write("runroot.yaml", "".join(f"{key}: {value}\n" for key, value in layout.items()))
        records = {
            # It refuses to serve as root; as anyone else it stays what it is.
            "admin.user_id": ("STRING", self.package if os.geteuid() == 0 else "#-1"),
            "exec_thread.autoconfig": ("INT", 0),
            "exec_thread.limit": ("INT", setting.workers),
            "accept_threads": ("INT", 0),
            "http.server_ports": ("STRING", f"{self.port}:ip-in=127.0.0.1"),
            "cache.ram_cache.size": ("INT", 2 << 30),
            "cache.ram_cache_cutoff": ("INT", max(4 << 20, 2 * setting.bytes)),
            # Without the filter that lets only what was asked for twice into memory.
            "cache.ram_cache.use_seen_filter": ("INT", 0),
            "cache.ram_cache.algorithm": ("INT", 1),
            "http.keep_alive_no_activity_timeout_in": ("INT", 86400),
            "http.transaction_no_activity_timeout_in": ("INT", 86400),
            "net.connections_throttle": ("INT", 18000),
            "net.listen_backlog": ("INT", 4096),
            "log.logging_enabled": ("INT", 3 if setting.access_log else 0),
            "http.insert_response_via_str": ("INT", 0),
            "url_remap.remap_required": ("INT", 1),
            "http.cache.when_to_revalidate": ("INT", 0),
            "diags.debug.enabled": ("INT", 0),
        }
        text = "".join(f"CONFIG proxy.config.{key} {kind} {value}\n" for key, (kind, value) in records.items())
        self.write("etc/records.config", text)
        self.write("etc/remap.config", f"map http://{HOST}/ http://127.0.0.1:{self.origin_port}/\n")
        self.write("etc/storage.config", f"{directory}/cache 8G\n")
        self.write("etc/ip_allow.yaml", IP_ALLOW)
        self.write("etc/logging.yaml", LOGGING)
        for name in ("cache", "hosting", "parent", "plugin", "socks", "splitdns", "ssl_multicert", "volume"):
            self.write(f"etc/{name}.config", "")

    def access_log(self):
        return self.directory / "log/access.log"

    def command(self):
        return [self.path(), f"--run-root={self.directory}/runroot.yaml"]
