"""What a $filter on directory objects may do, by default and with the advanced query parameters. Pure.

Source: sources.md#directory-filters. Apart from directory_queries, as the parser's classes take a while to load.
"""

from typing import Any, Final

from odata_query import ast

from pfxlab.emulator.graph import errors
from pfxlab.emulator.graph.odata import refusals
from pfxlab.emulator.graph.odata.directory_queries import DirectoryQuery

_ENDS_WITH: Final = frozenset({"mail", "othermails", "userprincipalname", "proxyaddresses"})
_ADVANCED: Final = frozenset(
    (
        "companyname", "mobilephone", "officelocation", "onpremisesextensionattributes", "onpremisesimmutableid",
        "onpremiseslastsyncdatetime", "onpremisessamaccountname", "passwordpolicies", "postalcode",
        "preferredlanguage", "streetaddress",
    )
)  # fmt: skip
"""Properties that are filtered with the advanced query parameters only, in lower case."""


def check_filter(query: DirectoryQuery, tree: Any) -> None:
    """Refuse a parsed $filter that the directory does not serve; whoever parsed it has bounded its depth.

    Raises:
        GraphError: an operator or property needs the advanced parameters, or is served in no way.

    """
    # A long chain of and, or leans to the left.
    while isinstance(tree, ast.BoolOp):
        check_filter(query, tree.right)
        tree = tree.left
    if isinstance(tree, ast.UnaryOp):
        _need_advanced(query, "not")
        check_filter(query, tree.operand)
    elif isinstance(tree, ast.Compare):
        _check_compare(query, tree)
    elif isinstance(tree, ast.CollectionLambda) and tree.lambda_ is not None:
        _check_lambda(query, _name(tree.owner), tree.lambda_.expression)
    elif isinstance(tree, ast.Call) and tree.args:
        _check_call(query, tree.func.name, _name(tree.args[0]))


def _need_advanced(query: DirectoryQuery, operator: str) -> None:
    if not query.advanced:
        raise refusals.advanced_operator(operator)


def _check_compare(query: DirectoryQuery, tree: ast.Compare) -> None:
    if isinstance(tree.comparator, ast.NotEq):
        _need_advanced(query, "ne")
    name = _name(tree.left)
    if not query.advanced and (isinstance(tree.right, ast.Null) or name.casefold() in _ADVANCED):
        raise errors.unsupported_filter(name, query.resource)


def _check_lambda(query: DirectoryQuery, name: str, body: Any) -> None:
    if isinstance(body, ast.Call):
        _check_call(query, body.func.name, name)
    else:
        check_filter(query, body)


def _check_call(query: DirectoryQuery, function: str, name: str) -> None:
    if function == "contains" and (query.contains == "refuse" or not query.advanced):
        raise refusals.unsupported_query("contains")
    if function == "endswith":
        _need_advanced(query, "endsWith")
    ends_nowhere = function == "endswith" and name.casefold() not in _ENDS_WITH
    if ends_nowhere or (name.casefold() in _ADVANCED and not query.advanced):
        raise errors.unsupported_filter(name, query.resource)


def _name(node: Any) -> str:
    """Return the property at the beginning of an operand, '' for what is none."""
    while isinstance(node, ast.Attribute):
        node = node.owner
    if isinstance(node, ast.Call) and node.args:
        return _name(node.args[0])
    return str(node.name) if isinstance(node, ast.Identifier) else ""
