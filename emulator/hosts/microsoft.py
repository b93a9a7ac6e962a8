"""The one table of Microsoft's host names: which cloud each belongs to and which service answers there.

Proxy, TLS certificate, sign-in, Graph and the error boundary read it. Source: sources.md#national-clouds.
"""

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import Final


class Service(Enum):
    """A service of Microsoft's that has host names of its own."""

    LOGIN = "login"
    GRAPH = "graph"


@dataclass(frozen=True)
class NationalCloud:
    """One of Microsoft's clouds. The first Graph host is the one a sign-in means that names no resource.

    `regional`: domains whose subdomains are sign-in hosts as well, such as `westeurope.login.microsoft.com`.
    """

    name: str
    login: tuple[str, ...]
    graph: tuple[str, ...]
    regional: tuple[str, ...] = ()


CLOUDS: Final = (
    NationalCloud(
        "global",
        login=("login.microsoftonline.com", "login.microsoft.com", "login.windows.net"),
        graph=("graph.microsoft.com",),
    ),
    NationalCloud(
        "usGovernment",
        login=("login.microsoftonline.us",),
        graph=("graph.microsoft.us", "dod-graph.microsoft.us"),
    ),
    NationalCloud(
        "china",
        login=("login.chinacloudapi.cn", "login.partner.microsoftonline.cn"),
        graph=("microsoftgraph.chinacloudapi.cn",),
    ),
)

LOGIN_HOSTS: Final = tuple(name for cloud in CLOUDS for name in cloud.login)
GRAPH_HOSTS: Final = tuple(name for cloud in CLOUDS for name in cloud.graph)
CERTIFICATE_NAMES: Final = (
    *LOGIN_HOSTS,
    *GRAPH_HOSTS,
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
    for cloud in CLOUDS:
        if name in cloud.graph:
            return MicrosoftHost(name, Service.GRAPH, cloud)
        if name in cloud.login or name.partition(".")[2] in cloud.regional:
            return MicrosoftHost(name, Service.LOGIN, cloud)
    return None
