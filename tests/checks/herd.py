"""200 clients ask at once for one uncached 20 MB object that its origin takes seconds to send.

usage: herd.py PROXY ORIGIN_URL
Prints how many clients had all bytes, and whether each had its first byte before the origin sent its last.
"""
import hashlib
import socket
import sys
import threading
import time
import urllib.parse

proxy, url = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
CLIENTS = 200
first, last, digests = [0.0] * CLIENTS, [0.0] * CLIENTS, [""] * CLIENTS
ready = threading.Barrier(CLIENTS)


def client(number):
    connection = socket.create_connection((proxy.hostname, proxy.port))
    ready.wait()
    host = urllib.parse.urlsplit(url).netloc
    connection.sendall(f"GET {url} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(65536)
    body = head.split(b"\r\n\r\n", 1)[1]
    while not body:
        body = connection.recv(65536)
    first[number] = time.monotonic()
    digest, length = hashlib.sha256(body), len(body)
    while data := connection.recv(1 << 18):
        digest.update(data)
        length += len(data)
    last[number] = time.monotonic()
    digests[number] = f"{digest.hexdigest()} {length}"


threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(f"{len(set(digests))} distinct body over {CLIENTS} clients, {digests[0].split()[1]} bytes each")
print(f"last first byte {max(first) - min(first):.2f} s after the first one; first end {min(last) - min(first):.2f} s after it")
sys.exit(0 if len(set(digests)) == 1 and max(first) < min(last) else 1)
