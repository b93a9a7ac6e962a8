"""Faults of Graph itself: an error in place of an answer, a token that ends, a damaged link to the next page.

They befall each request of a `$batch` by itself, as Graph's own troubles do.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.faults.apply import actor_of, mark, retry_headers
from pfxlab.emulator.faults.kinds import HTTP
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.request import Answer, Incoming
from pfxlab.emulator.proxy import GRAPH_HOSTS

KINDS: Final = ("status", "expired_token", "next_link", "odd_answer")
_BEFORE: Final = ("status", "expired_token")
_OTHER_STATUS: Final = {201: 200, 204: 200, 200: 206}


def _struck(cloud: Cloud, incoming: Incoming, kinds: Sequence[str]) -> Planned | None:
    path = f"/{incoming.version}/{incoming.path.strip('/')}"
    actor = actor_of(incoming.headers.get("authorization", ""), incoming.headers.get("user-agent", ""))
    spoken_of = f"{path} {incoming.query} {incoming.body.decode('utf-8', 'replace')}"
    planned = cloud.faults.strike(Occasion(HTTP, incoming.method, path, actor, spoken_of), kinds)
    if planned is not None:
        mark(cloud.journal, planned, on=f"{incoming.method} {path}"[:500])
    return planned


def struck(cloud: Cloud, incoming: Incoming) -> Planned | None:
    """Return the fault that befalls a request before it is answered, marked in the journal, or None."""
    return _struck(cloud, incoming, _BEFORE)


def spoiled(cloud: Cloud, incoming: Incoming, answer: Answer) -> Answer:
    """Return an answer with the fault that befalls it: a damaged link where there is one, or something unusual."""
    if isinstance(answer.body, dict) and "@odata.nextLink" in answer.body:
        planned = _struck(cloud, incoming, ("next_link",))
        if planned is not None:
            return replace(answer, body=damaged(answer.body, str(planned.fault.settings["variant"]), incoming))
    planned = _struck(cloud, incoming, ("odd_answer",))
    if planned is None:
        return answer
    if planned.fault.settings["form"] == "other_status":
        return replace(answer, status=_OTHER_STATUS.get(answer.status, answer.status))
    return replace(answer, body=_with_unknown(answer.body)) if isinstance(answer.body, dict) else answer


def error_of(cloud: Cloud, planned: Planned, service: str | None, came: str) -> errors.GraphError:
    """Return the error that a `status` fault answers with; `came` says what the request had done by then."""
    settings = planned.fault.settings
    return errors.injected(settings["status"], service, retry_headers(cloud.clock.now(), settings), planned.id, came)


def _with_unknown(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entity or list with what a later version of the service might say."""
    if isinstance(body.get("value"), list):
        return {**body, "value": [_with_unknown(one) if isinstance(one, dict) else one for one in body["value"]]}
    enums = {name: "unknownFutureValue" for name in ("intendedPurpose", "paddingScheme") if name in body}
    return {**body, **enums, "propertyOfALaterVersion": {"kind": "unknown", "values": [1, None]}}


def damaged(body: Mapping[str, Any], variant: str, incoming: Incoming) -> dict[str, Any]:
    """Return a page with the link to the next one damaged; a last page is left as it is."""
    if "@odata.nextLink" not in body:
        return dict(body)
    here = f"{incoming.origin}/{incoming.version}/{incoming.path.strip('/')}"
    links = {
        "same_page": f"{here}?{incoming.query}" if incoming.query else here,
        "missing_page": f"{here}/there-is-no-such-page",
        "no_url": "next page, please",
        "other_host": _elsewhere(body["@odata.nextLink"]),
    }
    return {**body, "@odata.nextLink": links[variant]}


def _elsewhere(link: str) -> str:
    """Return a link to another name of this very server, so that whoever follows it is seen."""
    scheme, _, rest = link.partition("://")
    host, _, path = rest.partition("/")
    port = host.rpartition(":")[2] if ":" in host else "443"
    if host in GRAPH_HOSTS:
        # Asked through the proxy: another name that leads to this server.
        return f"{scheme}://{next(other for other in GRAPH_HOSTS if other != host)}/{path}"
    name = "localhost" if host.startswith("127.") else "127.0.0.1"
    return f"{scheme}://{name}:{port}/{path}"
