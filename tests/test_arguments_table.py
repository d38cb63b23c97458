"""The tables of arguments in the docs are those of the code."""

import importlib.util
import re
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from helpers import OUR_ARGUMENTS

from nlf_sb3 import Injection

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("arguments_table", DOCS / "arguments.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_in(table):
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_the_page_s_tables_are_current(tables):
    page = (DOCS / "algorithms.md").read_text()
    assert tables.with_tables(page) == page


def test_every_argument_has_a_row(tables):
    assert set(names_in(tables.table(tables.CLASSES["FeedbackMixin"]))) == OUR_ARGUMENTS
    assert names_in(tables.table(Injection)) == [field.name for field in fields(Injection)]


@dataclass
class Given:
    """
    A class of a few fields.

    :param first: A ``word`` of :mod:`nlf_sb3.text`, as in
        A|B. More of it.
    :param second: A :class:`~nlf_sb3.Feedback`; "none"
    """

    first: str
    second: float = 0.5


def test_a_row_has_the_name_the_default_and_the_first_sentence(tables):
    assert tables.table(Given).splitlines()[2:] == [
        r"| `first` | required | A `word` of `nlf_sb3.text`, as in A\|B |",
        '| `second` | `0.5` | A `Feedback`; "none" |',
    ]


def test_another_default_makes_the_page_outdated(tables, monkeypatch):
    page = (DOCS / "algorithms.md").read_text()
    monkeypatch.setitem(tables.CLASSES, "Injection", Given)
    assert tables.with_tables(page) != page


def test_an_argument_without_a_sentence_is_an_error(tables):
    class Undocumented:
        def __init__(self, *, first=1):
            """Has no ``:param first:``."""

    with pytest.raises(ValueError, match=r"Undocumented: its docstring has no ':param first:'"):
        tables.table(Undocumented)


def test_a_page_without_marks_is_an_error(tables):
    with pytest.raises(ValueError, match="found tables of nothing, expected one of each of FeedbackMixin, Imitation"):
        tables.with_tables("# Algorithms")


def test_check_names_the_way_to_mend(tables, monkeypatch, tmp_path):
    page = tmp_path / "algorithms.md"
    page.write_text((DOCS / "algorithms.md").read_text().replace("| `coef` | `1.0` |", "| `coef` | `2.0` |"))
    monkeypatch.setattr(tables, "PAGE", page)
    monkeypatch.setattr("sys.argv", ["arguments.py", "check"])
    with pytest.raises(SystemExit, match=r"Mend with: python docs/arguments.py write"):
        tables.main()
    monkeypatch.setattr("sys.argv", ["arguments.py", "write"])
    tables.main()
    assert page.read_text() == (DOCS / "algorithms.md").read_text()
