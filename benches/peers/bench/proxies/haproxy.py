"""HAProxy with its memory cache."""

from bench.proxies.base import Proxy, has_age


class HAProxy(Proxy):
    name = "haproxy"
    package = "haproxy"
    program = "haproxy"
    version_command = ("-v",)
    connects = False

    def configure(self):
        self.write("haproxy.cfg", self.general() + (self.relay() if self.setting.tunnels else self.cache()))

    def access_log(self):
        # It logs to its standard output, which goes there with what it says of itself.
        return self.directory / "output.log"

    def general(self):
        setting = self.setting
        log = "log stdout format raw local0\n    option httplog" if setting.access_log else "no log"
        return f"""global
    nbthread {setting.workers}
    maxconn {setting.connections + 512}
    no strict-limits
    tune.bufsize 16384
    tune.listener.multi-queue on
defaults
    mode {"tcp" if setting.tunnels else "http"}
    {log}
    option http-keep-alive
    http-reuse always
    timeout connect 10s
    timeout client 1d
    timeout server 60s
    timeout http-keep-alive 1d
"""

    def relay(self):
        """HAProxy takes no CONNECT: it relays the connection itself, which is less to do."""
        return f"""listen relay
    bind 127.0.0.1:{self.port} backlog 4096
    server origin 127.0.0.1:{self.origin_port}
"""

    def cache(self):
        setting = self.setting
        bind = f"127.0.0.1:{self.port}"
        if setting.tls:
            alpn = "h2,http/1.1" if setting.http2 else "http/1.1"
            bind += f" ssl crt {setting.certificate.both} ssl-min-ver TLSv1.3 alpn {alpn}"
        return f"""cache memory
    total-max-size 2047
    max-object-size {min(1 << 30, max(65536, 2 * setting.bytes))}
    max-age 86400
frontend clients
    bind {bind} backlog 4096
    http-request cache-use memory
    http-response cache-store memory
    default_backend origin
backend origin
    server origin 127.0.0.1:{self.origin_port}
"""

    def command(self):
        return [self.path(), "-db", "-f", self.directory / "haproxy.cfg"]

    def is_hit(self, fields):
        return has_age(fields)
