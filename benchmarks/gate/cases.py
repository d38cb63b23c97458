"""The cases: each function makes a model, and may train it. Only this file follows the names of the library."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch as th
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

import nlf_sb3
from benchmarks.gate.worlds import REMARKS, Walk, categorical_at, expert_actions, gaussian_at, recorded_rows
from nlf_sb3 import (
    Demonstrations,
    Feedback,
    FeedbackWrapper,
    Imitation,
    Injection,
    LabelReplay,
    TrajectoryInjection,
    label_weights,
    presets,
    schedules,
)
from nlf_sb3.teachers import Expert, ExpertTeacher
from nlf_sb3.text import ActionNames, Dimension, HashedNgrams, RuleInterpreter, TextPrediction

N_STEPS = 96
_MINIBATCHES: dict[str, Any] = {"n_steps": 12, "batch_size": 8, "n_epochs": 2}
_OWN: dict[str, dict[str, Any]] = {
    "REINFORCE": {"n_episodes": 4},
    "A2C": {"n_steps": 12},
    "PPO": _MINIBATCHES,
    "TRPO": {"n_steps": 12, "batch_size": 8, "n_critic_updates": 2, "cg_max_steps": 5},
    "RecurrentPPO": _MINIBATCHES,
    "MaskablePPO": _MINIBATCHES,
}
ALGORITHMS = tuple(_OWN)
CASES: dict[str, Callable[[], Any]] = {}


class Gaussian(Expert):
    """An expert on the Box that has a distribution."""

    label = "sample"

    def act(self, observations: Any) -> np.ndarray:
        return expert_actions("box")(observations)

    def distribution(self, observations: Any) -> Any:
        return gaussian_at(observations)


class Categorical(Expert):
    """An expert on three choices that has a distribution."""

    label = "sample"

    def act(self, observations: Any) -> np.ndarray:
        return np.asarray(categorical_at(observations).distribution.logits[:, :2].argmax(dim=1))

    def distribution(self, observations: Any) -> Any:
        return categorical_at(observations)

    def log_prob(self, observations: Any, actions: np.ndarray) -> np.ndarray:
        return np.asarray(categorical_at(observations).log_prob(th.as_tensor(actions)))


def model(algorithm: str, env: Any, **settings: Any) -> Any:
    """
    :param algorithm: Its name
    :param env: A vectorised environment
    :param settings: Arguments that differ from those of all cases
    :return: An untrained model
    """
    is_recurrent = algorithm == "RecurrentPPO"
    is_dict = hasattr(env.observation_space, "spaces")
    policy = f"{'MultiInput' if is_dict else 'Mlp'}{'Lstm' if is_recurrent else ''}Policy"
    policy_kwargs: dict[str, Any] = {"net_arch": [8], **({"lstm_hidden_size": 8} if is_recurrent else {})}
    arguments = {"policy": policy, "seed": 0, "device": "cpu", **_OWN[algorithm], "policy_kwargs": policy_kwargs, **settings}
    return getattr(nlf_sb3, algorithm)(env=env, **arguments)


def action_of(algorithm: str) -> str:
    """The kind of action that an algorithm's cases have."""
    return "discrete" if algorithm == "MaskablePPO" else "box"


def worlds(make: Callable[[], Any], n_envs: int = 2) -> DummyVecEnv:
    """Environments side by side."""
    return DummyVecEnv([lambda: Monitor(make())] * n_envs)


def labelled(action: str, *, every: int = 2, is_dict: bool = False) -> Callable[[], Any]:
    """Makes an environment with labels, scores and words about some steps."""
    teach = ExpertTeacher(expert_actions(action))

    def teacher(transition: Any) -> Feedback | None:
        if transition.step % every:
            return Feedback(score=float(transition.step), text="fine")
        answer: Feedback | None = teach(transition)
        return answer

    return lambda: FeedbackWrapper(Walk(action, is_dict), teacher)


def spoken(action: str) -> Callable[[], Any]:
    """Makes an environment with remarks."""
    return lambda: FeedbackWrapper(Walk(action), lambda transition: Feedback(text=REMARKS[transition.step % len(REMARKS)]))


def injected(action: str, mode: str = "fork", expert: Any = None, **settings: Any) -> Callable[[], Any]:
    """Makes an environment in which an expert plays a part of each episode."""
    expert = expert or expert_actions(action)
    arguments = {"fork": {"twin": lambda: Walk(action)}, "takeover": {}, "guide": {"guide_steps": 4}}[mode]
    return lambda: TrajectoryInjection(Walk(action), expert, 0.3, mode=mode, **arguments, **settings)


def names_of(action: str) -> ActionNames:
    """Names of the actions of a walk."""
    space = Walk(action).action_space
    if action == "discrete":
        return ActionNames(space, [Dimension("push", low="left", high="right")])
    return ActionNames(space, [Dimension("push", low="left", high="right"), Dimension("lift", low="down", high="up")])


def case(name: str) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Registers a function that makes a model; it is trained for :data:`N_STEPS`."""

    def register(make: Callable[[], Any]) -> Callable[[], Any]:
        CASES[name] = make
        return make

    return register


def add(name: str, algorithm: str, make: Callable[[], Any], n_envs: int = 2, **settings: Any) -> None:
    """Adds a case of a model with settings in environments that ``make`` makes."""
    CASES[name] = lambda: model(algorithm, worlds(make, n_envs), **settings)


for _algorithm in ALGORITHMS:
    _action = action_of(_algorithm)
    _walk = lambda action=_action: Walk(action)  # noqa: E731
    add(f"labels/{_algorithm}", _algorithm, labelled(_action))
    add(f"expert/{_algorithm}", _algorithm, _walk, expert=expert_actions(_action), alpha=0.3)
    add(f"fork/{_algorithm}", _algorithm, injected(_action))
    if _algorithm != "RecurrentPPO":
        add(f"demonstrations/{_algorithm}", _algorithm, _walk, demonstrations=Demonstrations(*recorded_rows(_action)))
for _algorithm in ("REINFORCE", "A2C", "PPO", "TRPO"):
    _settings = {"normalize_returns": False} if _algorithm == "REINFORCE" else {}
    add(f"takeover/{_algorithm}", _algorithm, injected("box", "takeover"), **_settings)
add(
    "labels/every row",
    "PPO",
    labelled("box", every=1),
    n_envs=3,
    imitation=Imitation(mode_trains_std=True),
    log_gradients=True,
)
add("labels/multidiscrete", "PPO", labelled("multidiscrete"))
add("labels/multibinary", "A2C", labelled("multibinary"), alpha=0.0)
add("labels/dict", "PPO", labelled("box", is_dict=True))
add("labels/squashed", "PPO", labelled("box"), use_sde=True, policy_kwargs={"net_arch": [8], "squash_output": True})
add("without feedback", "PPO", Walk)
add("expert/kl box", "PPO", Walk, expert=Gaussian(), imitation="kl")
add("expert/kl discrete", "A2C", lambda: Walk("discrete"), expert=Categorical(), imitation="kl")
add("expert/kl REINFORCE", "REINFORCE", Walk, expert=Gaussian(), imitation="kl", baseline=True)
add("expert/limited", "PPO", Walk, expert=expert_actions("box"), max_expert_queries=30)
add("memory/PPO", "PPO", labelled("box"), imitation=Imitation(replay=LabelReplay(50, per_step=2.0)))
add("memory/MaskablePPO", "MaskablePPO", labelled("discrete"), imitation=Imitation(replay=LabelReplay(50)))
add(
    "weights/advantages",
    "PPO",
    labelled("box"),
    imitation=Imitation(weights=[label_weights.LargestAdvantage(), label_weights.EntropyWeight()]),
)
add("weights/gate", "PPO", labelled("box"), imitation=Imitation(weights=[label_weights.AdvantageGate()]))
add(
    "weights/trust",
    "A2C",
    labelled("box"),
    imitation=Imitation(weights=[label_weights.TrustGate(), label_weights.AdvantageSpread()]),
)
add("alpha/progress", "PPO", labelled("box"), alpha=schedules.CosineSchedule(0.1, 1.0))
add("alpha/updates", "A2C", labelled("box"), alpha=schedules.GeometricSchedule())
add("alpha/switch", "PPO", labelled("box"), alpha=schedules.RandomSwitch(2, 6))
add("alpha/performance", "PPO", labelled("box"), alpha=schedules.PerformanceSchedule(5.0, worst_return=-20.0))
add("alpha/trial", "PPO", labelled("box"), alpha=schedules.Trial(0.2, fraction=0.5, least_updates=2))
add("words/box", "PPO", spoken("box"), interpreter=RuleInterpreter(names_of("box")))
add("words/discrete", "A2C", spoken("discrete"), interpreter=RuleInterpreter(names_of("discrete")))
add("words/predicted", "PPO", spoken("box"), auxiliary_losses=[TextPrediction(HashedNgrams(16), coef=0.1)])
for _name, _separate in (("plain", False), ("separate", True)):
    _injection = Injection("plain", vf_coef=0.25, separate_step=_separate)
    add(f"fork/{_name}", "PPO", injected("box"), injection=_injection)
add("fork/once", "PPO", injected("box"), injection=Injection(coef=0.5, count_prefix=False))
add("fork/importance", "A2C", injected("discrete", expert=Categorical()), injection=Injection(row_weight="importance"))
add(
    "fork/imitated",
    "PPO",
    injected("box"),
    injection=Injection(segments="imitate"),
    imitation=Imitation(replay=LabelReplay(40)),
)
add("fork/with labels", "PPO", lambda: FeedbackWrapper(injected("box")(), ExpertTeacher(expert_actions("box"))))
add("fork/separate A2C", "A2C", injected("box"), injection="separate")
add("takeover/plain", "PPO", injected("box", "takeover"), injection=Injection("plain", vf_coef=0.5))
add("takeover/cut", "A2C", injected("discrete", "takeover", max_segment_steps=2), injection=Injection(coef=0.5))
add("guide/PPO", "PPO", injected("box", "guide"))
add("guide/MaskablePPO", "MaskablePPO", injected("discrete", "guide"))


@case("paper")
def _paper() -> Any:
    return model("REINFORCE", worlds(injected("box"), 1), **presets.paper())


@case("preset/labels")
def _preset_of_labels() -> Any:
    return model("PPO", worlds(labelled("box")), **presets.feedback("PPO", expert_return=3.0))


@case("preset/injection")
def _preset_of_injection() -> Any:
    return model("PPO", worlds(injected("box")), **presets.injection("PPO"))


@case("normalised/labels")
def _normalised() -> Any:
    return model("PPO", VecNormalize(worlds(labelled("box"))))


@case("normalised/fork")
def _normalised_fork() -> Any:
    return model("PPO", VecNormalize(worlds(injected("box"))))


@case("skipped")
def _skipped() -> Any:
    def teacher(transition: Any) -> Feedback:
        return Feedback(expert_action=np.full(2, 9.0 if transition.step % 3 == 0 else 0.5, np.float32))

    return model("PPO", worlds(lambda: FeedbackWrapper(Walk(), teacher)), on_error="skip")


def _loaded(trained: Any, **settings: Any) -> Any:
    """Saved after some training, and loaded to go on."""
    trained.learn(N_STEPS // 2)
    with tempfile.TemporaryDirectory() as folder:
        trained.save(Path(folder) / "model.zip")
        return type(trained).load(Path(folder) / "model.zip", env=trained.get_env(), device="cpu", **settings)


@case("loaded/PPO")
def _loaded_ppo() -> Any:
    alpha = schedules.PerformanceSchedule(5.0, worst_return=-20.0)
    return _loaded(
        model("PPO", worlds(labelled("box")), alpha=alpha, imitation=Imitation(weights=[label_weights.TrustGate()]))
    )


@case("loaded/REINFORCE")
def _loaded_reinforce() -> Any:
    return _loaded(model("REINFORCE", worlds(injected("box"))))


@case("language/REINFORCE")
def _language() -> Any:
    from benchmarks.gate.sentences import token_worlds

    return token_worlds("REINFORCE")


@case("language/PPO")
def _language_ppo() -> Any:
    from benchmarks.gate.sentences import token_worlds

    return token_worlds("PPO", injection=Injection(segments="imitate"))


def learn(name: str, log: Callable[[Any], None]) -> Any:
    """
    :param name: Key of :data:`CASES`
    :param log: Called with the model before it is trained
    :return: The trained model
    """
    th.manual_seed(0)
    np.random.seed(0)
    made = CASES[name]()
    log(made)
    return made.learn(N_STEPS)
