"""Keeps methods that stand for a verb as its row says: the same names for arguments, the same docs."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from pfxlab.emulator.lab.verbs import steps

F = TypeVar("F", bound=Callable[..., Any])


def verb(name: str, given: tuple[str, ...] = ()) -> Callable[[F], F]:
    """Put the docs of a verb before a method's own; `given`: arguments that the method knows by itself.

    Raises:
        TypeError: a parameter that is no argument of the verb, or an argument without a parameter.

    """
    row = steps()[name]

    def document(method: F) -> F:
        parameters = list(inspect.signature(method).parameters.values())[1:]
        named = {one.name for one in parameters if one.kind is not one.VAR_KEYWORD}
        open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters)
        arguments = set(row.named_arguments()) - set(given)
        if arguments and not named <= arguments:
            raise TypeError(f"{method.__qualname__}: expected arguments of {name}, got {sorted(named - arguments)}")
        if not open_ended and not arguments <= named:
            raise TypeError(f"{method.__qualname__}: expected all arguments of {name}, not {sorted(arguments - named)}")
        method.__doc__ = f"{row.does} {method.__doc__ or ''}".rstrip()
        return method

    return document
