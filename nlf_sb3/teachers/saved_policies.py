"""Read the policy out of a file that an SB3 or sb3-contrib model was saved in."""

from __future__ import annotations

import inspect
import json
import pathlib
import pickle
import warnings
import zipfile
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.save_util import json_to_data, load_from_zip_file, open_path
from stable_baselines3.common.vec_env import VecNormalize

from nlf_sb3.errors import FeedbackError

_NEEDED = ("policy_class", "observation_space", "action_space")
_USED = (*_NEEDED, "policy_kwargs", "use_sde")
_KINDS: dict[str, type] = {"policy_class": type, "observation_space": spaces.Space, "action_space": spaces.Space}


def load_policy(path: Any, custom_objects: dict[str, Any] | None) -> BasePolicy:
    """
    Only what makes the policy is unpickled: schedules and the like may come from another version of Python.

    :param path: What ``model.save`` wrote
    :param custom_objects: As in SB3's ``load``
    :return: The policy, on the CPU
    :raises FeedbackError: If it is no saved model, or the policy can't be made of it
    """
    fields = _fields(path, custom_objects or {})
    _, params, _ = load_from_zip_file(path, load_data=False, device="cpu")
    missing = [key for key in _NEEDED if key not in fields] + ([] if "policy" in (params or {}) else ["policy.pth"])
    if missing:
        mend = of_rows(path) or "Save one with model.save."
        raise FeedbackError(f"PolicyExpert.load: {path} is not a saved SB3 model (no {', '.join(missing)}). {mend}")
    policy_class = fields["policy_class"]
    kwargs = dict(fields.get("policy_kwargs") or {})
    kwargs.pop("device", None)
    try:
        if "use_sde" in inspect.signature(policy_class.__init__).parameters:
            kwargs.setdefault("use_sde", fields.get("use_sde", False))
        policy: BasePolicy = policy_class(fields["observation_space"], fields["action_space"], lambda _: 0.0, **kwargs)
        policy.load_state_dict(params["policy"])  # type: ignore[arg-type]
    except Exception as error:  # whatever a network's maker raises
        raise FeedbackError(
            f"PolicyExpert.load: {path}: its weights don't fit a {getattr(policy_class, '__name__', policy_class)} for "
            f"{fields['observation_space']} and {fields['action_space']} with policy_kwargs={kwargs}. "
            f"Pass what it was made with as custom_objects={{'policy_kwargs': ...}}. ({type(error).__name__}: {error})"
        ) from error
    return policy


def load_statistics(path: str | pathlib.Path) -> VecNormalize:
    """
    :param path: What ``VecNormalize.save`` wrote
    :return: The statistics
    :raises FeedbackError: If it is another file, or can't be unpickled
    """
    try:
        with open(path, "rb") as file:
            statistics = pickle.load(file)
    except FileNotFoundError:
        raise
    except Exception as error:  # whatever an unpickled class raises
        raise FeedbackError(
            f"PolicyExpert.load: vec_normalize: {path} can't be unpickled ({type(error).__name__}: {error}). Pass the file "
            "that VecNormalize.save wrote, or the VecNormalize itself."
        ) from error
    if not isinstance(statistics, VecNormalize):
        raise FeedbackError(
            f"PolicyExpert.load: vec_normalize: {path} holds {type(statistics).__name__}, expected the file that "
            "VecNormalize.save wrote."
        )
    return statistics


def of_rows(path: Any) -> str:
    """How rows act, if that is what a file's name speaks of."""
    is_npz = str(path).endswith(".npz")
    return "Demonstrations act through NearestStateExpert(Demonstrations.load(path))." if is_npz else ""


def _fields(path: Any, custom_objects: dict[str, Any]) -> dict[str, Any]:
    """The fields of a saved model that a policy is made of, each unpickled by itself."""
    fields = {name: custom_objects[name] for name in _USED if name in custom_objects}
    for name, value in _saved_as_text(path).items():
        if name in _USED and name not in fields:
            fields[name] = _unpickled(path, name, value)
    for name, kind in _KINDS.items():
        if name in fields and not isinstance(fields[name], kind):
            raise FeedbackError(
                f"PolicyExpert.load: {path}: its field {name} is {fields[name]!r}, expected a {kind.__name__}. Pass what "
                f"belongs there as custom_objects={{{name!r}: ...}}."
            )
    return fields


def _saved_as_text(path: Any) -> dict[str, Any]:
    file = open_path(path, "r", suffix="zip")
    try:
        with zipfile.ZipFile(file) as archive:
            saved = json.loads(archive.read("data")) if "data" in archive.namelist() else {}
    except (zipfile.BadZipFile, ValueError) as error:
        mend = of_rows(path) or "Save one with model.save."
        raise FeedbackError(f"PolicyExpert.load: {path} is not a saved SB3 model ({error}). {mend}") from error
    finally:
        if isinstance(path, (str, pathlib.Path)):
            file.close()
    return saved if isinstance(saved, dict) else {}


def _unpickled(path: Any, name: str, value: Any) -> Any:
    error: Exception | None = None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            read = json_to_data(json.dumps({name: value}))
        except Exception as raised:  # whatever an unpickled class raises
            error, read = raised, {}
    if name not in read:  # of some errors SB3 warns, and leaves the field out
        reason = "".join(str(one.message) for one in said) if error is None else f"{type(error).__name__}: {error}"
        raise FeedbackError(
            f"PolicyExpert.load: {path}: its field {name} can't be unpickled here. Pass what belongs there as "
            f"custom_objects={{{name!r}: ...}}, or install what it was saved with. ({reason})"
        ) from error
    for one in said:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return read[name]
