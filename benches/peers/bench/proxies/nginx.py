"""nginx with proxy_cache: a file for each response, found by a key in shared memory, from the page cache."""

import os

from bench.process import file_limit
from bench.proxies.base import Proxy


def body_settings(bytes):
    """How bodies of this size leave fastest, as measured. With `tcp_nopush` those of 64 KiB stall for 40 ms."""
    if bytes <= 32 << 10:
        return f"sendfile off; output_buffers 1 {max(32, bytes // 1024 + 4)}k;"
    if bytes <= 512 << 10:
        return "sendfile on; tcp_nopush off;"
    if bytes <= 32 << 20:
        return "sendfile off; output_buffers 2 32k;"
    return "sendfile on; tcp_nopush on;"


class Nginx(Proxy):
    name = "nginx"
    package = "nginx"
    program = "nginx"
    version_command = ("-v",)

    def configure(self):
        setting = self.setting
        listen = f"127.0.0.1:{self.port} backlog=4096 reuseport"
        tls = ""
        if setting.tls:
            listen += " ssl" + (" http2" if setting.http2 else "")
            tls = f"""
    ssl_certificate {setting.certificate.certificate};
    ssl_certificate_key {setting.certificate.key};
    ssl_protocols TLSv1.3;
    ssl_session_cache off;"""
        log = "off"
        if setting.access_log:
            log = f"{self.access_log()} combined buffer=64k flush=1s"
        self.write(
            "nginx.conf",
            f"""daemon off;
worker_processes {setting.workers};
worker_rlimit_nofile {file_limit()};
pid {self.directory}/nginx.pid;
error_log {self.directory}/error.log warn;
{"user root;" if os.geteuid() == 0 else ""}
# When fewer than a sixteenth are free it closes idle ones.
events {{ worker_connections {setting.connections * 5 // 4}; }}
http {{
    access_log {log};
    default_type application/octet-stream;
    {body_settings(setting.bytes)}
    keepalive_timeout 1d;
    keepalive_requests 1000000000;
    # As many as the machine's limit allows.
    open_file_cache max={max(100, file_limit() - setting.connections - 1024)} inactive=1d;
    open_file_cache_valid 1d;
    client_body_temp_path {self.directory}/body;
    proxy_temp_path {self.directory}/proxy;
    fastcgi_temp_path {self.directory}/fastcgi;
    uwsgi_temp_path {self.directory}/uwsgi;
    scgi_temp_path {self.directory}/scgi;
    proxy_cache_path {self.directory}/cache levels=1:2 keys_zone=cache:256m max_size=20g inactive=1d use_temp_path=off;
    upstream origin {{ server 127.0.0.1:{self.origin_port}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen {listen};{tls}
        location / {{
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_buffers 8 32k;
            proxy_cache cache;
        }}
    }}
}}
""",
        )

    def command(self):
        return [self.path(), "-p", self.directory, "-c", self.directory / "nginx.conf"]

