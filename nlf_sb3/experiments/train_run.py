"""One training run: set up or go on, train, evaluate, and say how it went."""

from __future__ import annotations

import importlib
import json
import shutil
from dataclasses import asdict, dataclass
from typing import Any

import torch as th
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecNormalize,
    VecTransposeImage,
    is_vecenv_wrapped,
    sync_envs_normalization,
)

from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import MissingExtraError
from nlf_sb3.experiments.train import Train
from nlf_sb3.experiments.train_callbacks import KeepCheckpoints, ShowProgress, interrupts_ask, make_evaluation, mean_return
from nlf_sb3.experiments.train_folder import Checkpoint, RunFolder, save_statistics
from nlf_sb3.experiments.train_method import completed, method_of
from nlf_sb3.experiments.train_setup import (
    algorithm_arguments,
    algorithm_class,
    load_expert,
    make_env,
    make_training_env,
    told_as,
)
from nlf_sb3.seeding import derived_seed
from nlf_sb3.teachers import Expert


@dataclass(frozen=True)
class Summary:
    """
    How a run went.

    :param steps: Steps of the environments
    :param episodes: Episodes that ended in them
    :param mean_return: Mean return of the last 100 of them
    :param evaluation_mean: Mean return of the final model, actions being its mode
    :param evaluation_std: Standard deviation of those returns
    :param expert_queries: Labels that the expert gave
    :param expert_steps: Steps that the expert took
    :param seconds: Seconds of training
    """

    steps: int
    episodes: int
    mean_return: float | None
    evaluation_mean: float
    evaluation_std: float
    expert_queries: int
    expert_steps: int
    seconds: float


def train(options: Train, console: Console) -> Summary:
    """
    Train as the command line asks.

    :param options: The command's
    :param console: Shows progress and the table at the end
    :return: How it went
    :raises FileExistsError: If ``out`` is there and ``resume`` isn't asked for
    :raises ValueError: With one line on what can't be, before anything is written
    :raises KeyboardInterrupt: When interrupted, after a checkpoint has been saved; it says so
    """
    _check(options)
    options = completed(options)
    th.set_num_threads(options.threads)
    folder = RunFolder(options)
    start = None if folder.is_new else folder.newest_checkpoint()
    if start is not None and start.steps >= options.timesteps and folder.summary.exists():
        summary = Summary(**json.loads(folder.summary.read_text()))
        console.print(f"{folder.path} is finished. A larger --timesteps goes on with it.")
        _print_table(summary, console)
        return summary
    if start is not None:
        console.print(f"Going on from {start.steps:,} steps.")
    model: Any = None
    try:
        model, eval_env = _set_up(options, folder, start)
        summary = _learn(model, eval_env, options, folder, start, console)
    except Exception:
        if folder.is_new and (model is None or model.num_timesteps == 0):
            shutil.rmtree(folder.path, ignore_errors=True)  # it never began, and would be in the way of the next try
        raise
    finally:
        if model is not None:
            model.get_env().close()
            eval_env.close()
            model.logger.close()
    _print_table(summary, console)
    return summary


def _check(options: Train) -> None:
    """Raise on numbers that make no sense, and on a missing TensorBoard, before anything else is done."""
    at_least_one = dict.fromkeys(("timesteps", "n_envs", "eval_episodes", "threads"), 1)
    for name, least in {**at_least_one, "checkpoint_every": 0, "eval_every": 0}.items():
        if getattr(options, name) < least:
            raise ValueError(f"--{name.replace('_', '-')}: got {getattr(options, name)}, expected at least {least}.")
    if options.tensorboard:
        try:
            importlib.import_module("tensorboard")
        except ImportError as error:
            raise MissingExtraError(
                "--tensorboard needs tensorboard, which is not installed. Install it with: pip install tensorboard"
            ) from error


def _set_up(options: Train, folder: RunFolder, start: Checkpoint | None) -> tuple[Any, VecEnv]:
    """The model with its environment, new or as the checkpoint has it, and the evaluation environment."""
    probe = make_env(options)
    expert = load_expert(options, probe)
    arguments = algorithm_arguments(options, probe.observation_space)
    teachers: dict[str, Any] = {"expert": expert if method_of(options) == "joint" else None}
    if options.demonstrations is not None:
        rows = Demonstrations.load(options.demonstrations)
        with told_as(f"--demonstrations {options.demonstrations}", ValueError):
            teachers["demonstrations"] = rows.checked(probe.observation_space, probe.action_space)
    probe.close()
    folder.write_settings()
    env = _training_env(options, folder, expert, arguments)
    algorithm = algorithm_class(options.algorithm)
    if start is None:
        with told_as(options.algorithm, AssertionError, TypeError):
            model = algorithm(env=env, **arguments, **teachers)
    else:
        if options.normalize:
            env = VecNormalize.load(str(start.statistics), env.venv)  # type: ignore[attr-defined]
        model = algorithm.load(start.model, env=env, device=options.device, **teachers)
        model.set_random_seed(derived_seed(options.seed, f"resumed at {start.steps}"))
    model.set_logger(_logger(options, folder))
    return model, _evaluation_env(options, model, start)


def _training_env(options: Train, folder: RunFolder, expert: Expert | None, arguments: dict[str, Any]) -> VecEnv:
    session = folder.session()
    suffix = "" if session == 1 else f".{session}"  # SB3's load_results puts them together
    files = [str(folder.path / "monitor" / f"{rank}{suffix}") for rank in range(options.n_envs)]
    return make_training_env(options, expert, files, gamma=float(arguments.get("gamma", 0.99)))


def _evaluation_env(options: Train, model: Any, start: Checkpoint | None) -> VecEnv:
    """The environment alone, without any teacher, with the training's statistics."""
    env: VecEnv = DummyVecEnv([lambda: Monitor(make_env(options))])
    if options.normalize:
        env = VecNormalize(env, training=False, norm_reward=False)
    if is_vecenv_wrapped(model.get_env(), VecTransposeImage):
        env = VecTransposeImage(env)
    env.seed(derived_seed(options.seed, f"evaluation from {0 if start is None else start.steps}"))
    return env


def _logger(options: Train, folder: RunFolder) -> Logger:
    session = folder.session() - 1  # this session's monitor files are there already
    name = "progress.csv" if session == 1 else f"progress.{session}.csv"
    outputs: list[KVWriter] = [CSVOutputFormat(str(folder.path / name))]
    if options.tensorboard:
        outputs.append(TensorBoardOutputFormat(str(folder.path / "tensorboard")))
    return Logger(str(folder.path), outputs)


def _learn(
    model: Any, eval_env: VecEnv, options: Train, folder: RunFolder, start: Checkpoint | None, console: Console
) -> Summary:
    eval_callback, evaluate = _evaluation_tools(options.algorithm)
    checkpoints = KeepCheckpoints(folder, options.checkpoint_every, {} if start is None else start.counts)
    with _progress(console) as progress:
        task = progress.add_task("steps", total=options.timesteps, completed=model.num_timesteps)
        callbacks: list[BaseCallback] = [checkpoints, ShowProgress(progress, task)]
        if options.eval_every:
            every = {"every": options.eval_every, "episodes": options.eval_episodes}
            done = {"done": model.num_timesteps, "n_envs": options.n_envs}
            callbacks.append(make_evaluation(eval_callback, folder, eval_env, **every, **done))
        remaining = options.timesteps - model.num_timesteps
        try:
            if remaining > 0:
                with interrupts_ask(checkpoints.request_stop):
                    model.learn(remaining, callback=callbacks, reset_num_timesteps=start is None)
        except KeyboardInterrupt:
            checkpoints.save_interrupted()
            raise KeyboardInterrupt(_how_to_go_on(folder)) from None
    seconds = checkpoints.seconds()
    if checkpoints.saved != model.num_timesteps:
        checkpoints.save()
    model.save(folder.model)
    save_statistics(model, folder.path / "vecnormalize.pkl")
    sync_envs_normalization(model.get_env(), eval_env)
    eval_env.seed(derived_seed(options.seed, "final evaluation"))
    mean, std = evaluate(model, eval_env, n_eval_episodes=options.eval_episodes, deterministic=True)
    summary = Summary(
        steps=model.num_timesteps,
        episodes=checkpoints.episodes,
        mean_return=mean_return(model),
        evaluation_mean=float(mean),
        evaluation_std=float(std),
        expert_queries=model.num_expert_queries,
        expert_steps=model.num_expert_steps,
        seconds=round(seconds, 1),
    )
    folder.summary.write_text(json.dumps(asdict(summary), indent=2) + "\n")
    return summary


def _evaluation_tools(algorithm: str) -> tuple[type[EvalCallback], Any]:
    """An agent that knows masks is evaluated with them."""
    if algorithm != "MaskablePPO":
        return EvalCallback, evaluate_policy
    callbacks = importlib.import_module("sb3_contrib.common.maskable.callbacks")
    evaluation = importlib.import_module("sb3_contrib.common.maskable.evaluation")
    return callbacks.MaskableEvalCallback, evaluation.evaluate_policy


def _how_to_go_on(folder: RunFolder) -> str:
    newest = folder.newest_checkpoint()
    kept = "before the first checkpoint" if newest is None else f"a checkpoint of {newest.steps:,} steps is kept"
    return f"interrupted; {kept}. The same command with --resume goes on."


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _print_table(summary: Summary, console: Console) -> None:
    table = Table(show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("steps", f"{summary.steps:,}")
    table.add_row("episodes", f"{summary.episodes:,}")
    table.add_row("mean return, last 100", "-" if summary.mean_return is None else f"{summary.mean_return:.1f}")
    table.add_row("evaluation return", f"{summary.evaluation_mean:.1f} ± {summary.evaluation_std:.1f}")
    table.add_row("expert labels", f"{summary.expert_queries:,}")
    table.add_row("expert steps", f"{summary.expert_steps:,}")
    table.add_row("seconds", f"{summary.seconds:.1f}")
    console.print(table)
