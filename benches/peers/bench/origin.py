"""The origin, which counts what it is asked."""

import http.client

from bench.process import Program, free_port


class Origin:
    def __init__(self, instruments, cores, scratch):
        self.port = free_port()
        command = [instruments, "origin", "--listen", f"127.0.0.1:{self.port}"]
        self.program = Program(command, cores, scratch / "origin.log")
        self.program.wait_for_port(self.port)

    def requests(self):
        """How many answers it has given so far."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/requests")
        count = int(connection.getresponse().read())
        connection.close()
        return count

    def stop(self):
        self.program.stop()
