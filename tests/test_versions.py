"""What the README says of versions is what ran, and the package asks for no more than it needs."""

import importlib.util
import json
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from recording import record, versions

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("versions_table", ROOT / "docs" / "versions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_s_table_is_the_record_s(tables):
    readme = (ROOT / "README.md").read_text()
    assert tables.with_table(readme, json.loads((ROOT / "docs" / "versions.json").read_text())) == readme


def test_pins_other_than_those_recorded_are_named(tables, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "CONSTRAINTS", tmp_path)
    (tmp_path / "newest.txt").write_text("# a comment\nstable_baselines3==2.2.0\nrich==15.0.0\n")
    (difference,) = tables.check([])
    assert difference.startswith("newest: pins stable-baselines3==2.2.0, the table says 2.")


def test_only_a_passed_session_leaves_a_record(tmp_path, tables, monkeypatch):
    monkeypatch.setattr(tables, "RAN", tmp_path)
    monkeypatch.setattr(tables, "RECORD", tmp_path / "recorded" / "versions.json")
    monkeypatch.setattr(tables, "CONSTRAINTS", tmp_path)
    (tmp_path / "recorded").mkdir()
    tables.RECORD.write_text(json.dumps({"here": {**versions(), "numpy": "0.1"}}))
    record(tmp_path / "here.json", passed=True)
    assert tables.check(["here"]) == [f"here: ran with numpy {version('numpy')}, the table says 0.1"]
    record(tmp_path / "here.json", passed=False)
    assert tables.check(["here"]) == ["here: its tests have not passed here (make test-here)"]


def test_a_readme_without_marks_is_an_error(tables):
    with pytest.raises(ValueError, match=r"found no <!-- versions -->"):
        tables.with_table("# nlf_sb3", {})


def test_installing_the_package_asks_only_for_what_a_user_of_sb3_has():
    base = [Requirement(text) for text in requires("nlf-sb3") if "extra ==" not in text]
    assert {requirement.name for requirement in base} == {"stable-baselines3", "gymnasium", "torch", "numpy"}
    by_name = {requirement.name: requirement.specifier for requirement in base}
    assert all(release in by_name["stable-baselines3"] for release in ["2.2.1", "2.3.2", "2.4.1", "2.7.1", "2.9.2"])
    assert all(release in by_name["gymnasium"] for release in ["0.29.1", "1.0.0", "1.2.3", "1.4.0"])
    assert all(version(requirement.name) in requirement.specifier for requirement in base)
    assert (3, 10) <= sys.version_info[:2] <= (3, 12)
