"""The one table of Microsoft's host names: which cloud each belongs to and which service answers there.

Proxy, TLS certificate, sign-in, Graph and the error boundary read it. Sources: sources.md#national-clouds,
sources.md#sign-in-hosts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final


class Service(Enum):
    """A service of Microsoft's that has host names of its own."""

    LOGIN = "login"
    GRAPH = "graph"
    MANAGEMENT = "management"


@dataclass(frozen=True)
class NationalCloud:
    """One of Microsoft's clouds. The first Graph host is the one a sign-in means that names no resource.

    `management`: hosts of Azure Resource Manager, which `az login` asks for subscriptions. `regional`: domains whose
    subdomains are sign-in hosts as well, such as `westeurope.login.microsoft.com`.
    """

    name: str
    login: tuple[str, ...]
    graph: tuple[str, ...]
    management: tuple[str, ...] = ()
    regional: tuple[str, ...] = ()


CLOUDS: Final = (
    NationalCloud(
        "global",
        login=("login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net"),
        graph=("graph.microsoft.com",),
        management=("management.azure.com",),
        regional=("login.microsoft.com", "r.login.microsoftonline.com"),
    ),
    NationalCloud(
        "usGovernment",
        login=("login.microsoftonline.us", "login.usgovcloudapi.net"),
        graph=("graph.microsoft.us", "dod-graph.microsoft.us"),
        management=("management.usgovcloudapi.net",),
        regional=("login.microsoftonline.us",),
    ),
    NationalCloud(
        "china",
        login=("login.partner.microsoftonline.cn", "login.chinacloudapi.cn"),
        graph=("microsoftgraph.chinacloudapi.cn",),
        management=("management.chinacloudapi.cn",),
        regional=("login.partner.microsoftonline.cn",),
    ),
)

LOGIN_HOSTS: Final = tuple(name for cloud in CLOUDS for name in cloud.login)
GRAPH_HOSTS: Final = tuple(name for cloud in CLOUDS for name in cloud.graph)
CERTIFICATE_NAMES: Final = (
    *LOGIN_HOSTS,
    *GRAPH_HOSTS,
    *(name for cloud in CLOUDS for name in cloud.management),
    *(f"*.{domain}" for cloud in CLOUDS for domain in cloud.regional),
)
"""What a server certificate must name to cover every host of the table."""


@dataclass(frozen=True)
class MicrosoftHost:
    """What a host name stands for: a service in a cloud."""

    name: str
    service: Service
    cloud: NationalCloud


@lru_cache(maxsize=256)
def microsoft_host(name: str) -> MicrosoftHost | None:
    """Return what a host name stands for, whatever its case; None for a name that is not of Microsoft's services.

    `name` has no port.
    """
    name = name.lower()
    region, _, domain = name.partition(".")
    for cloud in CLOUDS:
        if name in cloud.graph:
            return MicrosoftHost(name, Service.GRAPH, cloud)
        if name in cloud.management:
            return MicrosoftHost(name, Service.MANAGEMENT, cloud)
        if name in cloud.login or (region and domain in cloud.regional):
            return MicrosoftHost(name, Service.LOGIN, cloud)
    return None


class HostsOf:
    """The names of one service in every cloud, regional ones included, and some names of the lab's own."""

    def __init__(self, service: Service, own: Iterable[str]) -> None:
        self._service, self._own = service, frozenset(own)

    def __contains__(self, name: object) -> bool:
        host = microsoft_host(str(name))
        return name in self._own or (host is not None and host.service is self._service)
