"""ETags of Intune entities, for clients that send If-Match: weak, made of the moment of the last change.

Nothing known of the real service uses them (sources.md#etags): they are ignored unless the switch `etags` says
otherwise.
"""

import base64
from datetime import datetime

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.request import GraphRequest, Json
from pfxlab.emulator.store.database import to_text


def etag_of(changed: datetime) -> str:
    """Return the weak ETag of an entity last changed then."""
    return f'W/"{base64.b64encode(to_text(changed).encode()).decode()}"'


def with_etag(request: GraphRequest, entity: Json, changed: datetime) -> Json:
    """Return an entity with its `@odata.etag`, when they are honoured."""
    if request.cloud.config.switches.etags == "ignore":
        return entity
    context = {name: value for name, value in entity.items() if name == "@odata.context"}
    return {**context, "@odata.etag": etag_of(changed), **entity}


def check_precondition(request: GraphRequest, changed: datetime) -> None:
    """Let a change pass whose If-Match names the entity as it is.

    Raises:
        GraphError: 412, the entity was changed since the client read it.

    """
    if request.if_match is None or request.cloud.config.switches.etags == "ignore":
        return
    if request.if_match.strip() not in ("*", etag_of(changed)):
        raise errors.precondition_failed(f"expected If-Match {etag_of(changed)}, got {request.if_match[:80]!r}")
