"""An origin for the checks: /SIZE/NAME gives SIZE bytes; ?slow=SECONDS spreads them; ?control=VALUE is the Cache-Control;
with ?own=1 they begin with the hash of the path, so that no two bodies are the same.

Prints its address, then a line for each request. Only the standard library.
"""
import hashlib
import http.server
import sys
import time
import urllib.parse

BLOCK = bytes(range(256)) * 1024


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(parts.query))
        size = int(parts.path.split("/")[1])
        print("request", self.path, flush=True)
        self.send_response(200)
        self.send_header("Cache-Control", query.get("control", "max-age=3600"))
        self.send_header("Content-Length", str(size))
        self.end_headers()
        pause = float(query.get("slow", 0)) / max(1, size // len(BLOCK))
        left = size
        own = hashlib.sha256(parts.path.encode()).digest() if "own" in query else b""
        try:
            self.wfile.write(own[:left])
            left -= len(own[:left])
            while left > 0:
                self.wfile.write(BLOCK[: min(left, len(BLOCK))])
                left -= min(left, len(BLOCK))
                if pause:
                    time.sleep(pause)
        except OSError:
            pass

    def log_message(self, *arguments):
        pass


class Server(http.server.ThreadingHTTPServer):
    # Many connections come at once; one that is not taken would look like an origin that is down.
    request_queue_size = 1024


server = Server(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
