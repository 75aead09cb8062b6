"""Whether an answer is the right one, looked at by a client that shares no code with the loads."""

import http.client
import ssl
from dataclasses import dataclass

from bench.process import Failure
from bench.proxies.base import HOST


@dataclass(frozen=True)
class Head:
    """How long the head of a proxy's answers is: the fields that proxies add are part of their work."""

    bytes: int
    fields: int


def verify(proxy, urls, hits):
    """Asks for some of the URLs; every one has to be a 200 with its own body, and a hit where hits are measured."""
    connection = connect(proxy)
    head = None
    for path in urls.sample():
        connection.request("GET", path, headers={"Host": HOST})
        answer = connection.getresponse()
        body = answer.read()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status != 200:
            raise Failure(f"{path}: status {answer.status}: {body[:300]!r}")
        if len(body) != urls.bytes:
            raise Failure(f"{path}: {len(body)} bytes of body instead of {urls.bytes}")
        if proxy.name != "floor" and not body.startswith(path.encode()[: urls.bytes]):
            raise Failure(f"{path}: the body of another URL")
        if hits and proxy.is_hit(fields) is False:
            raise Failure(f"{path}: not a hit: {fields}")
        lines = [f"{name}: {value}\r\n" for name, value in answer.getheaders()]
        size = len(f"HTTP/1.1 {answer.status} {answer.reason}\r\n") + sum(map(len, lines)) + 2
        head = Head(size, len(lines))
    connection.close()
    return head


def fetch(proxy, paths):
    """Asks for these; every one has to be a 200."""
    connection = connect(proxy)
    for path in paths:
        connection.request("GET", path, headers={"Host": HOST})
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise Failure(f"{path}: status {answer.status}")
    connection.close()


def connect(proxy):
    if proxy.setting.tunnels and proxy.connects:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
        connection.set_tunnel("127.0.0.1", proxy.origin_port)
        return connection
    if not proxy.setting.tls:
        return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=30)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=30, context=context)
