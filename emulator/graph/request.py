"""A Graph request as the resources see it, and their answer: plain values, no HTTP library."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.graph.odata.query import Place, QueryOptions

_T = TypeVar("_T")
Steps: TypeAlias = Generator[None, None, _T]
"""Work that can be left where it yields, so that others are served meanwhile; its value comes at the end."""


@dataclass(frozen=True)
class Incoming:
    """A request as it came. `path` is below the version, still percent-encoded; header names are lower case."""

    method: str
    origin: str
    version: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    address: str = "127.0.0.1"
    """The loopback address that the lab listens on, as URLs have it."""


@dataclass(frozen=True)
class Outgoing:
    """The answer as it goes out."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class GraphRequest:
    """One request after routing: `keys` are the entity keys of its path, `cast` the type it casts to without its
    namespace, `root` is `https://host/beta`, `eventual` whether ConsistencyLevel asks for advanced queries on directory
    objects."""

    cloud: Cloud
    caller: Caller
    method: str
    root: str
    path: str
    keys: tuple[str, ...]
    query: QueryOptions
    content_type: str
    body: bytes
    cast: str | None = None
    accept: str = ""
    eventual: bool = False
    if_match: str | None = None
    address: str = ""
    """The path as the client wrote it, still percent-encoded: what a nextLink repeats."""

    @property
    def version(self) -> str:
        """`beta` or `v1.0`."""
        return self.root.rpartition("/")[2]

    def context(self, fragment: str) -> str:
        """Return the @odata.context of an answer (sources.md#odata-context)."""
        return f"{self.root}/$metadata#{fragment}"


Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What a resource answers. `body` None: no content. `notes` and `facts` go to the journal only.

    `notes` are remarks on what was accepted, `facts` what the request was about: identifiers and sizes.
    """

    status: int = 200
    body: Json | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


Handler: TypeAlias = Callable[[GraphRequest], Answer]


def page(request: GraphRequest, fragment: str, items: list[Json], total: int | None, following: Place | None) -> Answer:
    """Return a page of a collection, with an absolute nextLink on the request's own host when another follows."""
    answer: Json = {"@odata.context": request.context(fragment)}
    if total is not None:
        answer["@odata.count"] = total
    answer["value"] = [request.query.project(item, "assignments") for item in items]
    if following is not None:
        answer["@odata.nextLink"] = request.query.next_link(f"{request.root}/{request.address}", following)
    return Answer(200, answer)
