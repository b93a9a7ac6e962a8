"""Paths without a route of the lab: a gap of the lab is told from a client's typing error.

What Microsoft's model has not is Graph's own 400. What it has is an empty list where Intune would list entities that
the lab has no notion of, as in a fresh tenant, and else 501. Source: sources.md#routes-not-emulated.
"""

from collections.abc import Sequence

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata.query import QueryOptions
from pfxlab.emulator.graph.odata.routes import NoSuchSegment, Place, place_of
from pfxlab.emulator.graph.request import Answer, Incoming, Json


def answer(incoming: Incoming, segments: Sequence[str], *, empty_lists: bool, elsewhere: bool) -> Answer:
    """Answer a path that the lab has no route for.

    `empty_lists`: the switch unmodelled_lists. `elsewhere`: the lab has the route, in the other version only.

    Raises:
        GraphError: the model lacks the path, or the lab does what the model has.

    """
    try:
        place = place_of(incoming.version, segments)
    except NoSuchSegment as missing:
        raise errors.unknown_segment(missing.segment) from None
    reads = incoming.method in ("GET", "HEAD") and place.intune and (place.entities or place.counted)
    if not reads or not empty_lists or elsewhere:
        where = "in the other version only" if elsewhere else "not"
        raise errors.not_emulated(f"{incoming.method} /{incoming.version}/{'/'.join(segments)}", where)
    note = f"RouteNotEmulated: the lab keeps no {place.kind}, the list is always empty"
    return Answer(200, "0" if place.counted else _empty(incoming, place), notes=(note,))


def _empty(incoming: Incoming, place: Place) -> Json:
    body: Json = {"@odata.context": f"{incoming.origin}/{incoming.version}/$metadata#{place.fragment}"}
    if QueryOptions(incoming.query).count:
        body["@odata.count"] = 0
    return {**body, "value": []}
