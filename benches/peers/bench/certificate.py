"""The certificate that all proxies show, and what the loads that use OpenSSL may negotiate."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.process import Failure

SUITE = "TLS_AES_256_GCM_SHA384"
GROUP = "X25519"
OPENSSL_CONF = f"""openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = clients
[clients]
MinProtocol = TLSv1.3
Ciphersuites = {SUITE}
Groups = {GROUP}
"""
"""One cipher suite and one group, so that no proxy can choose a cheaper one."""


@dataclass(frozen=True)
class Certificate:
    """An ECDSA P-256 certificate in PEM files: alone, its key, and both together."""

    certificate: Path
    key: Path
    both: Path

    @classmethod
    def make(cls, directory, host):
        made = cls(directory / "certificate.pem", directory / "key.pem", directory / "both.pem")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
        command += ["-keyout", str(made.key), "-out", str(made.certificate)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            raise Failure("no `openssl` here; install the package openssl") from None
        if done.returncode:
            raise Failure(f"openssl made no certificate:\n{done.stderr}")
        made.both.write_text(made.certificate.read_text() + made.key.read_text())
        for path in (made.certificate, made.key, made.both):
            path.chmod(0o644)
        return made


def client_environment(directory):
    """For wrk."""
    path = directory / "openssl.cnf"
    path.write_text(OPENSSL_CONF)
    return {"OPENSSL_CONF": str(path)}
