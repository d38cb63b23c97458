"""imitation's saved policies and trainers, loaded with any release of PyTorch."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch as th
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.utils import get_device
from stable_baselines3.common.vec_env import VecEnv

from nlf_sb3.errors import FeedbackError, require
from nlf_sb3.teachers.policy_expert import PolicyExpert

if TYPE_CHECKING:
    from imitation.algorithms.dagger import DAggerTrainer
    from imitation.util.logger import HierarchicalLogger


def load_policy(
    path: str | Path, *, policy_class: type[BasePolicy] = ActorCriticPolicy, device: th.device | str = "cpu"
) -> BasePolicy:
    """
    Load a policy that was saved by imitation's ``save_policy``, by a policy's own ``save``, or as an SB3 model.

    It stands in for imitation's ``bc.reconstruct_policy``, which fails from PyTorch 2.6 on, and for
    ``FeedForward32Policy.load``, which fails with every release. Files of the first two kinds run code when they are
    loaded: load only what you trust.

    :param path: The file, or a folder with a ``model.zip``
    :param policy_class: Class of a policy that its own ``save`` wrote: such a file doesn't name it. SB3's
        ``ActorCriticPolicy`` builds the network of imitation's ``FeedForward32Policy`` too.
    :param device: Where to put it
    :return: The policy; :func:`~nlf_sb3.teachers.as_expert` makes an expert of it
    :raises FileNotFoundError: If there is nothing
    :raises FeedbackError: If it is something else
    :raises MissingExtraError: Without imitation, for a policy that needs it
    """
    path = Path(path) / "model.zip" if Path(path).is_dir() else Path(path)
    if not path.exists():
        raise FileNotFoundError(f"load_policy: there is no {path}. Save a policy there with imitation.util.util.save_policy.")
    if zipfile.is_zipfile(path) and "policy.pth" in zipfile.ZipFile(path).namelist():
        return PolicyExpert.load(path).policy.to(device)
    loaded = _load(path, device)
    if isinstance(loaded, dict) and {"state_dict", "data"} <= set(loaded):
        with th.random.fork_rng(devices=[]):  # building networks draws from torch's global generator
            policy = policy_class(**loaded["data"])
        policy.load_state_dict(loaded["state_dict"])
        return policy.to(device)
    if not isinstance(loaded, BasePolicy):
        raise FeedbackError(f"load_policy: {path} holds a {type(loaded).__name__}, expected a policy of SB3 or imitation.")
    return loaded


def load_trainer(
    scratch_dir: str | Path,
    venv: VecEnv,
    *,
    custom_logger: HierarchicalLogger | None = None,
    device: th.device | str = "cpu",
) -> DAggerTrainer:
    """
    Load the latest checkpoint of a DAgger trainer, in the place of imitation's ``dagger.reconstruct_trainer``, which
    fails from PyTorch 2.6 on. The file runs code when it is loaded: load only what you trust.

    :param scratch_dir: The trainer's working directory
    :param venv: What it goes on training in
    :param custom_logger: Where it logs to; nowhere by default
    :param device: Where to put its policy
    :return: The trainer: an expert (:func:`~nlf_sb3.teachers.as_expert`), and ready to train on
    :raises FileNotFoundError: If there is no checkpoint
    :raises MissingExtraError: Without imitation
    """
    bc = require("imitation.algorithms.bc", "imitation", "load_trainer")
    require("imitation.algorithms.dagger", "imitation", "load_trainer")
    path = Path(scratch_dir) / "checkpoint-latest.pt"
    if not path.exists():
        raise FileNotFoundError(f"load_trainer: there is no {path}. Write it with trainer.save_trainer().")
    logger = custom_logger or silent_logger()
    with _configured_logger(logger):
        trainer = _load(path, device)
    trainer.venv = venv
    trainer.logger = logger
    trainer.bc_trainer._bc_logger = bc.BCLogger(logger)  # pickled without the logger that it writes to
    return trainer  # type: ignore[no-any-return]


def silent_logger() -> HierarchicalLogger:
    """
    :return: A logger of imitation that writes nowhere. imitation's default makes a directory in the temporary folder.
    :raises MissingExtraError: Without imitation
    """
    logger = require("imitation.util.logger", "imitation", "nlf_sb3.interop.imitation")
    return logger.HierarchicalLogger(Logger(folder=None, output_formats=[]), format_strs=())  # type: ignore[no-any-return]


def _load(path: Path, device: th.device | str) -> Any:
    try:
        return th.load(path, map_location=get_device(device), weights_only=False)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "imitation":
            require("imitation", "imitation", f"load_policy({str(path)!r})")
        raise


@contextlib.contextmanager
def _configured_logger(logger: Any) -> Iterator[None]:
    """While active, imitation's trainers are unpickled with this logger, and make no directory for one of their own."""
    module: Any = require("imitation.util.logger", "imitation", "load_trainer")
    configure = module.configure
    module.configure = lambda *args, **kwargs: logger
    try:
        yield
    finally:
        module.configure = configure
