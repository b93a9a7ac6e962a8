"""Lets Graph's own handlers do what a form of the admin centre asks for: what is refused over Graph is refused here."""

import json
from collections.abc import Mapping
from typing import Any, Final

from pfxlab.emulator.admin.page import Look
from pfxlab.emulator.entra.caller import Caller
from pfxlab.emulator.graph.errors import GraphError
from pfxlab.emulator.graph.odata.query import QueryOptions
from pfxlab.emulator.graph.request import Answer, GraphRequest, Handler

_PORTAL: Final = "PFX Lab admin centre"


class NotTaken(ValueError):
    """What was entered cannot be; the text is the reason that Graph has for it."""


def ask_graph(look: Look, handler: Handler, body: Mapping[str, Any] | None = None, *keys: str) -> Answer:
    """Let one of Graph's own handlers do what a form asks for, for the administrator who has signed in.

    Raises:
        NotTaken: Graph refuses it.

    """
    cloud = look.cloud
    caller = Caller(look.tenant_id, _PORTAL, frozenset(), float("inf"))
    request = GraphRequest(
        cloud, caller, "POST", "https://localhost/beta", "", keys, QueryOptions(""), "application/json",
        b"" if body is None else json.dumps(body).encode(),
    )  # fmt: skip
    try:
        with cloud.journal.kept_on_rollback(), cloud.store.atomic():
            answer = handler(request)
    except GraphError as error:
        raise NotTaken(error.reason) from None
    return answer
