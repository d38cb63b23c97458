"""The options of nlf-sb3 train: any algorithm on any environment, from the shell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass
class Train:
    """
    Train an algorithm on a Gymnasium environment, with an expert or without.

    Writes into OUT: settings.json, checkpoints/, monitor/ (a row for each episode), progress.csv, evaluations.npz,
    best_model.zip, and in the end model.zip and summary.json, all of which Stable-Baselines3 reads. Interrupt it
    whenever you like: the same command with --resume goes on.

    The same command gives the same model. A run that was interrupted gets a random stream of its own from there on, so
    that its model differs from an uninterrupted one's; it takes as many steps, but for REINFORCE, whose updates end
    where episodes do.
    """

    env: str
    """Gymnasium's id, for example CartPole-v1. package:Name-v0 imports the package first."""
    out: Path
    """Folder for everything that is written. It must not exist yet, except with --resume."""
    algorithm: Literal["REINFORCE", "A2C", "PPO", "TRPO", "RecurrentPPO", "MaskablePPO"] = "PPO"
    """The last three need sb3-contrib."""
    env_kwargs: str = "{}"
    """Arguments of the environment, as JSON: '{"healthy_z_range": [0.8, 2.0]}'."""
    expert: str | None = None
    """A model's .zip, the folder of an earlier run, demonstrations' .npz (acts as in the nearest recorded state),
    or lqr (lqr:0.1 with that standard deviation) for MuJoCo's balancing tasks."""
    expert_statistics: Path | None = None
    """VecNormalize statistics that the expert's .zip was trained with."""
    demonstrations: Path | None = None
    """A .npz of Demonstrations.save, for the imitation loss."""
    method: Literal["joint", "injection", "takeover", "none"] | None = None
    """joint: the expert labels every rollout. injection: the expert forks off the agent's episodes. takeover: the expert
    takes episodes over. Left out: joint where there is an expert or demonstrations, none where there is neither."""
    alpha: str | None = None
    """Weight of the policy gradient against imitation: a number in [0, 1], or START:END for a line from one to the
    other over the run, such as 0.1:1.0. Left out: the preset's own, or else 0.5. Only where something is imitated: with
    --method joint or --demonstrations."""
    imitation: Literal["nll", "kl"] = "nll"
    """nll: likelihood of the expert's actions. kl: the analytic divergence, for experts that have a distribution, with
    --method joint."""
    fork_probability: float | None = None
    """Chance, before each step, that the expert forks off or takes over, in (0, 1]; only with --method injection or
    takeover. Left out: the wrapper's own 0.4 for injection, and 0.01 for takeover, where the expert keeps the episode to
    its end."""
    preset: Literal["feedback", "none"] = "none"
    """feedback: arguments that learn fast from feedback. none: Stable-Baselines3's defaults."""
    set: tuple[str, ...] = ()
    """One more argument of the algorithm, KEY=VALUE with a value as in Python, as often as there are arguments:
    --set n_steps=64 --set policy_kwargs='{"net_arch": [32]}'. Fields of its objects have a dot:
    --set injection.coef=0.5 --set imitation.replay.capacity=10000."""
    timesteps: int = 100_000
    """Steps of the environments, together. With --resume it may be larger than before."""
    n_envs: int = 1
    """Environments, one after the other in one process."""
    seed: int = 0
    """Seed of everything that is drawn."""
    normalize: bool = False
    """Normalise observations and rewards by running statistics (VecNormalize), saved beside every model."""
    checkpoint_every: int = 10_000
    """Steps between checkpoints, which are saved between updates; 0 for none on the way."""
    eval_every: int = 10_000
    """Steps between evaluations, actions being the policy's mode; the best model is kept. 0 for none on the way."""
    eval_episodes: int = 10
    """Episodes of each evaluation, and of the one at the end."""
    device: str = "auto"
    """As in Stable-Baselines3."""
    threads: int = 1
    """Threads of PyTorch on the CPU; one is fastest for small networks. Results may differ with their number."""
    tensorboard: bool = False
    """Log for TensorBoard too, in OUT/tensorboard (pip install tensorboard)."""
    resume: bool = False
    """Go on from OUT's newest checkpoint, for the steps that remain."""
