"""Rules of the house: no private names across modules, few classes in front of SB3's, few arguments, dependencies one way."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import stable_baselines3
import torch as th
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy

import nlf_sb3

ROOT = Path(nlf_sb3.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py") if "assets" not in path.parts)
LAYERS = ("maths", "buffers", "objectives", "adapters", "receiving", "labelling", "algorithms")
"""Packages of learning, each of which may import those before it."""
OF_NAMED_TUPLES = ("_fields", "_replace", "_asdict")


def private_accesses(tree):
    """Names like ``_x`` that are taken from another object than ``self`` or ``cls``, or from another module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            is_super = isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "super"
            if not (is_own or is_super):
                yield node.attr, node.lineno
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nlf_sb3"):
            for alias in node.names:
                if alias.name.startswith("_") and not alias.name.startswith("__"):
                    yield alias.name, node.lineno


def private_definitions(tree):
    """Private methods, attributes, functions and constants of a module."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    yield target.id


def test_no_module_uses_private_names_of_another():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
    defined = {path: {name for name in private_definitions(tree) if name.startswith("_")} for path, tree in trees.items()}
    of_sb3 = {name for cls in nlf_sb3.PPO.__mro__[2:] for name in vars(cls)} | set(of_an_sb3_model()) | set(dir(th.Tensor))
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path, tree in trees.items()
        for name, line in private_accesses(tree)
        if name not in defined[path]
        and name not in of_sb3
        and name not in OF_NAMED_TUPLES
        and any(name in names for names in defined.values())
    ]
    assert found == []


def test_no_test_uses_private_names_of_the_package():
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(Path(__file__).parent.glob("*.py"))}
    names = {name for path in MODULES for name in private_definitions(ast.parse(path.read_text(encoding="utf-8")))}
    private = {name for name in names if name.startswith("_") and not name.startswith("__")} - {"_", *OF_NAMED_TUPLES}
    algorithms = (getattr(nlf_sb3, name) for name in ("PPO", "A2C", "TRPO", "RecurrentPPO", "MaskablePPO"))
    of_others = {name for algorithm in algorithms for cls in algorithm.__mro__[2:] for name in vars(cls)}
    of_others |= {name for cls in (ActorCriticPolicy, BaseCallback) for base in cls.__mro__ for name in vars(base)}
    of_others |= set(of_an_sb3_model()) | set(dir(th.Tensor)) | {"_last_lstm_states"}
    found = [
        f"{path.name}:{line} {name}"
        for path, tree in trees.items()
        for name, line in [*private_accesses(tree), *private_strings(tree)]
        if name in private - of_others and name not in set(private_definitions(tree))
    ]
    assert found == []


def private_strings(tree):
    """Last parts of texts like ``"_x"`` or ``"module._x"``, which monkeypatch and getattr take for names."""
    in_others = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in in_others:
            yield node.value.rpartition(".")[2], node.lineno


def of_an_sb3_model():
    """Attributes of a model of Stable-Baselines3, which subclasses may use."""
    return vars(stable_baselines3.PPO("MlpPolicy", "CartPole-v1", n_steps=8, batch_size=8))


@pytest.mark.parametrize("name", ["A2C", "PPO"])
def test_at_most_three_classes_stand_before_sb3s(name):
    mro = getattr(nlf_sb3, name).__mro__
    assert mro.index(getattr(stable_baselines3, name)) <= 3


def test_feedback_adds_eleven_arguments():
    own = {
        name
        for name, parameter in inspect.signature(nlf_sb3.PPO.__init__).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert len(own) == 11


def imports_of(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.ImportFrom)
            and id(node) not in for_types
            and node.module
            and node.module.startswith("nlf_sb3.")
        ):
            yield node.module.split(".")[1]


def test_dependencies_point_one_way():
    found = [
        f"{path.relative_to(ROOT)} imports {package}"
        for place, layer in enumerate(LAYERS)
        for path in (ROOT / layer).rglob("*.py")
        for package in imports_of(path)
        if package in LAYERS[place + 1 :] or package in ("experiments", "language")
    ]
    assert found == []
