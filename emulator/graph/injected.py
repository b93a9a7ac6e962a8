"""Faults of Graph itself: an error in place of an answer, a token that ends, a damaged link to the next page.

They apply to each request of a `$batch` by itself, as Graph's own errors do. Each kind is a row of faults/kinds.py and
a function in one of the tables at the end of this file; faults of the HTTP connection are executed in
lab/http_faults.py.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from pfxlab.emulator.cloud import Cloud
from pfxlab.emulator.entra.bearer import end_token
from pfxlab.emulator.faults.apply import actor_of, mark, retry_headers
from pfxlab.emulator.faults.kinds import HTTP
from pfxlab.emulator.faults.plan import Occasion, Planned
from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.request import Answer, Incoming, Steps
from pfxlab.emulator.hosts.microsoft import GRAPH_HOSTS

_OTHER_STATUS: Final = {201: 200, 204: 200, 200: 206}


@dataclass(frozen=True)
class Pending:
    """A request that is not answered yet.

    `carry_out` answers it and raises GraphError when it is refused; its argument says whether the client will get that
    answer, and so whether it goes into the journal. `service`: whose error envelope applies, None for Graph's own.
    """

    incoming: Incoming
    carry_out: Callable[[bool], Steps[Answer]]
    service: str | None


BeforeAnswer: TypeAlias = Callable[[Cloud, Pending, Planned], Steps[Answer]]
AfterAnswer: TypeAlias = Callable[[Incoming, Answer, Planned], Answer]


def before_answer(cloud: Cloud, pending: Pending) -> Steps[Answer | None]:
    """Return the answer of the fault that strikes a request before it is answered; None when there is no such fault.

    Raises:
        GraphError: the fault's answer is an error, or the request is refused.

    """
    planned = _struck(cloud, pending.incoming, BEFORE_ANSWER)
    return None if planned is None else (yield from BEFORE_ANSWER[planned.fault.kind](cloud, pending, planned))


def after_answer(cloud: Cloud, incoming: Incoming, answer: Answer) -> Answer:
    """Return an answer, changed by the fault that strikes it: first those of pages, then those of any answer."""
    has_link = isinstance(answer.body, dict) and "@odata.nextLink" in answer.body
    for executors in (PAGES, ANSWERS) if has_link else (ANSWERS,):
        planned = _struck(cloud, incoming, executors)
        if planned is not None:
            return executors[planned.fault.kind](incoming, answer, planned)
    return answer


def _struck(cloud: Cloud, incoming: Incoming, kinds: Collection[str]) -> Planned | None:
    path = f"/{incoming.version}/{incoming.path.strip('/')}"
    actor = actor_of(incoming.headers.get("authorization", ""), incoming.headers.get("user-agent", ""))
    spoken_of = f"{path} {incoming.query} {incoming.body.decode('utf-8', 'replace')}"
    planned = cloud.faults.strike(Occasion(HTTP, incoming.method, path, actor, spoken_of), kinds)
    if planned is not None:
        mark(cloud.journal, planned, on=f"{incoming.method} {path}"[:500])
    return planned


def _status(cloud: Cloud, pending: Pending, planned: Planned) -> Steps[Answer]:
    settings, came = planned.fault.settings, "before it was looked at"
    if settings["after_write"]:
        # Whatever came of it: the client hears of the fault only.
        try:
            answer = yield from pending.carry_out(False)
            came = f"after it was carried out ({answer.status})"
        except errors.GraphError as error:
            came = f"after it was refused ({error.status}, {error.rule})"
    headers = retry_headers(cloud.wall.now(), settings)
    raise errors.injected(settings["status"], pending.service, headers, planned.id, came)


def _expired_token(cloud: Cloud, pending: Pending, planned: Planned) -> Steps[Answer]:
    end_token(cloud, pending.incoming.headers.get("authorization", ""), planned.fault.settings["ending"])
    return (yield from pending.carry_out(True))


def _next_link(incoming: Incoming, answer: Answer, planned: Planned) -> Answer:
    body: dict[str, Any] = dict(answer.body)  # type: ignore[arg-type]
    return replace(answer, body=damaged(body, str(planned.fault.settings["variant"]), incoming))


def _odd_answer(_: Incoming, answer: Answer, planned: Planned) -> Answer:
    if planned.fault.settings["form"] == "other_status":
        return replace(answer, status=_OTHER_STATUS.get(answer.status, answer.status))
    return replace(answer, body=_with_unknown(answer.body)) if isinstance(answer.body, dict) else answer


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
        "other_host": _elsewhere(body["@odata.nextLink"], incoming.address),
    }
    return {**body, "@odata.nextLink": links[variant]}


def _elsewhere(link: str, address: str) -> str:
    """Return a link to another name of this very server, so that whoever follows it is seen."""
    scheme, _, rest = link.partition("://")
    host, _, path = rest.partition("/")
    port = host.rpartition(":")[2] if ":" in host else "443"
    if host in GRAPH_HOSTS:
        # Asked through the proxy: another name that leads to this server.
        return f"{scheme}://{next(other for other in GRAPH_HOSTS if other != host)}/{path}"
    name = "localhost" if host.startswith(("127.", "[")) else address
    return f"{scheme}://{name}:{port}/{path}"


BEFORE_ANSWER: Final[Mapping[str, BeforeAnswer]] = {"status": _status, "expired_token": _expired_token}
"""Kind → what it does in place of answering the request."""

PAGES: Final[Mapping[str, AfterAnswer]] = {"next_link": _next_link}
"""Kind → what it does to a page of a list that another page follows."""

ANSWERS: Final[Mapping[str, AfterAnswer]] = {"odd_answer": _odd_answer}
"""Kind → what it does to any answer."""

EXECUTORS: Final = {**BEFORE_ANSWER, **PAGES, **ANSWERS}
"""Every kind that Graph executes."""
