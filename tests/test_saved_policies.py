"""Saved models that act as experts, of which something can't be unpickled or doesn't fit."""

import base64
import io
import json
import pickle
import zipfile

import cloudpickle
import numpy as np
import pytest
import sb3_contrib
import stable_baselines3 as sb3
import torch as th

from nlf_sb3 import FeedbackError
from nlf_sb3.teachers import PolicyExpert

OBSERVATIONS = np.zeros((3, 4), np.float32)


class FailsQuietly:
    """SB3 warns of a TypeError, and leaves the field out."""

    def __reduce__(self):
        return int, (1, 2, 3)


class FailsLoudly:
    def __reduce__(self):
        return __import__, ("a_module_that_is_not_here",)


class BecomesANumber:
    def __reduce__(self):
        return int, (3,)


@pytest.fixture(scope="module")
def model():
    return sb3.PPO("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": [8], "activation_fn": th.nn.ReLU}, device="cpu")


def with_field(model, path, field, value):
    """A file of the model in which a field is another."""
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    data = json.loads(files["data"])
    data[field] = {":type:": "?", ":serialized:": base64.b64encode(cloudpickle.dumps(value)).decode()}
    files["data"] = json.dumps(data).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("value", [FailsQuietly(), FailsLoudly()], ids=["quietly", "loudly"])
@pytest.mark.parametrize("field", ["observation_space", "action_space", "policy_class", "policy_kwargs", "use_sde"])
def test_a_field_that_can_t_be_unpickled_is_named_with_its_file_and_the_mend(model, tmp_path, field, value):
    path = with_field(model, tmp_path / "model.zip", field, value)
    message = rf"model\.zip: its field {field} can't be unpickled here.*custom_objects=\{{'{field}': "
    with pytest.raises(FeedbackError, match=message):
        PolicyExpert.load(path)
    mended = PolicyExpert.load(path, custom_objects={field: getattr(model, field)}, deterministic=True)
    np.testing.assert_array_equal(mended.act(OBSERVATIONS), PolicyExpert(model, deterministic=True).act(OBSERVATIONS))


@pytest.mark.parametrize("field", ["observation_space", "action_space", "policy_class"])
def test_a_field_that_becomes_something_else_is_named_too(model, tmp_path, field):
    path = with_field(model, tmp_path / "model.zip", field, BecomesANumber())
    with pytest.raises(FeedbackError, match=rf"its field {field} is 3, expected a .*custom_objects"):
        PolicyExpert.load(path)


@pytest.mark.parametrize("value", [FailsQuietly(), FailsLoudly()], ids=["quietly", "loudly"])
@pytest.mark.parametrize("field", ["lr_schedule", "clip_range", "_last_obs", "ep_info_buffer"])
@pytest.mark.filterwarnings("error")
def test_a_field_that_a_policy_doesn_t_need_may_be_anything(model, tmp_path, field, value):
    expert = PolicyExpert.load(with_field(model, tmp_path / "model.zip", field, value), deterministic=True)
    np.testing.assert_array_equal(expert.act(OBSERVATIONS), PolicyExpert(model, deterministic=True).act(OBSERVATIONS))


def test_a_network_that_the_weights_don_t_fit_is_named(model, tmp_path):
    path = with_field(model, tmp_path / "model.zip", "policy_kwargs", {"net_arch": [4]})
    with pytest.raises(FeedbackError, match=r"model\.zip: its weights don't fit .*net_arch.*\[4\].*custom_"):
        PolicyExpert.load(path)


def test_an_open_file_loads_and_is_left_open(model):
    file = io.BytesIO()
    model.save(file)
    for _ in range(2):
        assert PolicyExpert.load(file).act(OBSERVATIONS).shape == (3,)
    assert not file.closed


def test_every_kind_of_model_loads(tmp_path):
    for algorithm, env in ((sb3.SAC, "Pendulum-v1"), (sb3.DQN, "CartPole-v1"), (sb3_contrib.TRPO, "CartPole-v1")):
        made = algorithm("MlpPolicy", env, policy_kwargs={"net_arch": [8]}, device="cpu")
        made.save(tmp_path / "model")
        rows = np.zeros((2, *made.observation_space.shape), np.float32)
        loaded = PolicyExpert.load(tmp_path / "model", deterministic=True).act(rows)
        np.testing.assert_array_equal(loaded, PolicyExpert(made, deterministic=True).act(rows))


def test_statistics_that_aren_t_any_are_named(model, tmp_path):
    model.save(tmp_path / "model")
    files = {"text.pkl": b"no pickle", "other.pkl": pickle.dumps({"mean": 0}), "lost.pkl": pickle.dumps(FailsLoudly())}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FeedbackError, match=rf"vec_normalize: .*{name} .*VecNormalize\.save"):
            PolicyExpert.load(tmp_path / "model", vec_normalize=tmp_path / name)
