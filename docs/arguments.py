"""
The tables of arguments in ``docs/algorithms.md``, from the code: names, defaults and the first sentence of each ``:param``.

``write`` renews the tables; ``check`` says whether they are current, and exits with 1 if not.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from pathlib import Path
from typing import Any

from nlf_sb3 import Imitation, Injection, LabelReplay, TrainingPhases
from nlf_sb3.algorithms import FeedbackMixin

PAGE = Path(__file__).with_name("algorithms.md")
CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls for cls in (FeedbackMixin, Imitation, LabelReplay, Injection, TrainingPhases)
}
_MARKED = re.compile(r"(?<=<!-- arguments of )(\w+)( -->\n).*?(?=<!-- /arguments -->)", re.DOTALL)
_PARAM = re.compile(r"^:param (\w+): (.*?)(?=^:|\Z)", re.DOTALL | re.MULTILINE)
_FIRST_SENTENCE = re.compile(r"(.*?)\.?(?:(?<=\.)\s+(?=[A-Z`\"])|$)", re.DOTALL)
_ROLE = re.compile(r":\w+:`(~?)([^`]+)`")


def sentences(cls: type[Any]) -> dict[str, str]:
    """
    :param cls: A class
    :return: Name of each argument in its docstring -> the first sentence about it, in Markdown
    """
    return {name: _markdown(" ".join(text.split())) for name, text in _PARAM.findall(inspect.getdoc(cls) or "")}


def table(cls: type[Any]) -> str:
    """
    :param cls: A class
    :return: The table of its keyword arguments or fields, in Markdown
    :raises ValueError: If its docstring lacks one of them
    """
    signature = inspect.signature(cls).parameters.values()
    keywords = [parameter for parameter in signature if parameter.kind is parameter.KEYWORD_ONLY]
    documented = sentences(cls)
    rows = ["| argument | default | meaning |", "| --- | --- | --- |"]
    for parameter in keywords or signature:
        if parameter.name not in documented:
            raise ValueError(f"{cls.__name__}: its docstring has no ':param {parameter.name}:'. Add one.")
        rows.append(f"| `{parameter.name}` | {_default(parameter)} | {documented[parameter.name]} |")
    return "\n".join([*rows, ""])


def with_tables(page: str) -> str:
    """
    :param page: Text of a page
    :return: The text with every table between its marks
    :raises ValueError: If a class has no marks, or marks have no class
    """
    marked = [name for name, _ in _MARKED.findall(page)]
    if sorted(marked) != sorted(CLASSES):
        raise ValueError(
            f"algorithms.md: found tables of {', '.join(marked) or 'nothing'}, expected one of each of {', '.join(CLASSES)}. "
            "A table stands between <!-- arguments of NAME --> and <!-- /arguments -->."
        )
    return _MARKED.sub(lambda match: f"{match[1]}{match[2]}{table(CLASSES[match[1]])}", page)


def _markdown(text: str) -> str:
    match = _FIRST_SENTENCE.match(text)
    assert match is not None
    sentence = _ROLE.sub(lambda role: f"`{role[2].rpartition('.')[2] if role[1] else role[2]}`", match[1])
    return sentence.replace("``", "`").replace("|", r"\|")


def _default(parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty:
        return "required"
    value = repr(parameter.default)
    return f"`{value}`".replace("'", '"')


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "check"])
    page = PAGE.read_text()
    current = with_tables(page)
    if parser.parse_args().what == "write":
        PAGE.write_text(current)
    elif page != current:
        sys.exit("docs/algorithms.md: its tables are not those of the code. Mend with: python docs/arguments.py write")


if __name__ == "__main__":
    main()
