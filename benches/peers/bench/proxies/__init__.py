"""The proxies, a file each."""

from bench.proxies.floor import Floor
from bench.proxies.haproxy import HAProxy
from bench.proxies.larder import Larder
from bench.proxies.nginx import Nginx
from bench.proxies.squid import Squid
from bench.proxies.tinyproxy import Tinyproxy
from bench.proxies.trafficserver import TrafficServer
from bench.proxies.varnish import Varnish

PEERS = {peer.name: peer for peer in (Nginx, HAProxy, Varnish, TrafficServer, Squid, Tinyproxy)}
