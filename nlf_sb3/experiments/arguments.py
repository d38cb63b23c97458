"""Arguments of algorithms as they stand on the command line: KEY=VALUE."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Collection
from typing import Any

from nlf_sb3.experiments.fields import field_names


def parse_pair(pair: str, *, given: str | None = None) -> tuple[str, Any]:
    """
    >>> parse_pair("n_steps=64"), parse_pair("policy=CnnPolicy")
    (('n_steps', 64), ('policy', 'CnnPolicy'))

    :param pair: KEY=VALUE with a value as in Python; a bare word is a string, since the shell has eaten its quotes
    :param given: What stood on the command line, if there was more
    :return: Key and value
    :raises ValueError: For anything else
    """
    key, equals, text = pair.partition("=")
    if not equals:
        raise ValueError(f"--set: got {pair!r}, expected KEY=VALUE, each key once.")
    try:
        return key, ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        if not text.isidentifier():
            raise ValueError(f"--set {given or pair}: {text!r} is no plain Python value ({type(error).__name__}).") from error
    return key, text


def check_name(key: str, known: Collection[str], *, what: str) -> None:
    """
    :param key: Name of an argument
    :param known: Those that there are
    :param what: Start of the message: where it stood, and whose argument it was to be
    :raises ValueError: If it is none of them; the message says which is meant
    """
    if key not in known:
        close = difflib.get_close_matches(key, known, n=1)
        mend = f"Did you mean {close[0]}?" if close else f"It has {', '.join(sorted(known))}."
        raise ValueError(f"{what} has no argument {key}. {mend}")


def argument_names(algorithm: type[Any]) -> set[str]:
    """
    :param algorithm: A class
    :return: Names of its constructor's arguments, along its base classes as far as they pass keywords on, and of the fields
        of those that are objects
    """
    names: set[str] = set()
    for base in algorithm.__mro__:
        if "__init__" not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        names |= {
            parameter.name
            for parameter in parameters
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
            break
    return (names | field_names(names)) - {"self"}
