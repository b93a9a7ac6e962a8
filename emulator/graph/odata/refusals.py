"""Refusals of query options, in Graph's words, the true reason beside.

Sources: sources.md#unknown-names, sources.md#directory-filters, sources.md#directory-sorting,
sources.md#directory-page-size, sources.md#count-media-type.
"""

from typing import Final

from pfxlab.emulator.graph.errors import GraphError
from pfxlab.emulator.wire.text import quoted

_SELECT_AND_EXPAND: Final = "Parsing OData Select and Expand failed: "


def unknown_name(option: str, name: str, kind: str) -> GraphError:
    """400 for a query option with a property that the type does not have."""
    before = {"$filter": "Invalid filter clause: ", "$orderby": ""}.get(option, _SELECT_AND_EXPAND)
    text = f"{before}Could not find a property named '{name}' on type 'microsoft.graph.{kind}'."
    reason = f"{option} names {quoted(name)}, which {kind} does not have in this version"
    return GraphError(400, "BadRequest", text, reason, rule="PropertyUnknown")


def not_a_navigation(name: str, kind: str) -> GraphError:
    """400 for an $expand of a property that holds a value of its own."""
    text = (
        f"{_SELECT_AND_EXPAND}Property '{name}' on type 'microsoft.graph.{kind}' is not a navigation property or "
        "complex property. Only navigation properties can be expanded."
    )
    return GraphError(400, "BadRequest", text, text, rule="OptionInvalid")


def invalid_expand(term: str) -> GraphError:
    """400 for an $expand that does not parse."""
    text = f"{_SELECT_AND_EXPAND}Term '{term}' is not valid in a $select or $expand expression."
    return GraphError(400, "BadRequest", text, text, rule="OptionInvalid")


def advanced_operator(operator: str) -> GraphError:
    """400 for an operator on directory objects without the advanced query parameters."""
    text = (
        f"Operator '{operator}' is not supported because the required parameters might be missing. Try adding "
        "$count=true query parameter and ConsistencyLevel:eventual header. Refer to "
        "https://aka.ms/graph-docs/advanced-queries for more information"
    )
    return GraphError(400, "Request_UnsupportedQuery", text, text, rule="FilterInvalid")


def unsupported_query(what: str) -> GraphError:
    """400 for a $filter that the directory serves in no way."""
    reason = f"the directory does not serve {what} here: docs/divergences.md#switches, directory_contains"
    return GraphError(400, "Request_UnsupportedQuery", "Unsupported Query.", reason, rule="FilterInvalid")


def sorting_unsupported() -> GraphError:
    """400 for $orderby beside $filter on directory objects without the advanced query parameters."""
    reason = "$orderby with $filter needs ConsistencyLevel: eventual and $count=true"
    text = "Sorting not supported for current query."
    return GraphError(400, "Request_UnsupportedQuery", text, reason, rule="OptionInvalid")


def unsorted_property(name: str, resource: str, *, advanced: bool) -> GraphError:
    """400 for $orderby on a property by which directory objects are not sorted."""
    text = f"Unsupported sort property '{name}' for '{resource}'."
    shown = "An unsupported property was specified." if advanced else text
    return GraphError(400, "Request_UnsupportedQuery", shown, text, rule="OptionInvalid")


def page_size(size: int) -> GraphError:
    """400 for a $top that directory objects do not take."""
    text = f"Invalid page size specified: '{size}'. Must be between 1 and 999 inclusive."
    return GraphError(400, "Request_UnsupportedQuery", text, text, rule="OptionInvalid")


def count_is_text(accept: str) -> GraphError:
    """415 for a `$count` segment that is to be JSON: it is plain text."""
    text = "The requested media type is not supported. $count is text/plain."
    reason = f"expected Accept to allow text/plain, got {quoted(accept)}"
    return GraphError(415, "Request_BadRequest", text, reason, rule="OptionInvalid")
