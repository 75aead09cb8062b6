"""Downloads URL/0?own=1 to URL/COUNT-1?own=1 through a proxy, all at once: `downloads.py PROXY URL COUNT`.

Fails unless every client gets the bytes that the origin of the checks sends. Only the standard library.
"""
import hashlib
import http.client
import sys
import threading
import urllib.parse

BLOCK = bytes(range(256)) * 1024
proxy, url, count = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2], int(sys.argv[3])
size = int(urllib.parse.urlsplit(url).path.split("/")[1])
path = urllib.parse.urlsplit(url).path
rest = (BLOCK * (size // len(BLOCK) + 1))[: size - 32]
wrong = []
gate = threading.Barrier(count)


def download(number):
    gate.wait()
    try:
        connection = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=120)
        connection.request("GET", f"{url}/{number}?own=1")
        response = connection.getresponse()
        digest, length = hashlib.sha256(), 0
        while part := response.read(65536):
            digest.update(part)
            length += len(part)
        own = hashlib.sha256(f"{path}/{number}".encode()).digest()
        if response.status != 200 or digest.digest() != hashlib.sha256(own + rest).digest():
            wrong.append(f"{number}: status {response.status}, {length} bytes")
    except (OSError, http.client.HTTPException) as error:
        wrong.append(f"{number}: {error!r}")


threads = [threading.Thread(target=download, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for line in wrong:
    print(line)
sys.exit(1 if wrong else 0)
