"""What every algorithm here adds to its Stable-Baselines3 original: feedback in, joint objective and injection out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
import torch as th
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import unwrap_vec_normalize

from nlf_sb3.algorithms.imitation import ImitationTerm, to_policy_actions
from nlf_sb3.algorithms.injection import InjectionTerm, build_injected_rows
from nlf_sb3.algorithms.joint import attached_loss, gradient_norms
from nlf_sb3.algorithms.rows import DemonstrationRows, InjectedRows
from nlf_sb3.algorithms.statistics import FeedbackStatistics, expert_agreement
from nlf_sb3.algorithms.vec_envs import to_policy_observations
from nlf_sb3.buffers.labels import MODE, NO_LABEL, SAMPLE, keep_feedback
from nlf_sb3.demonstrations import Demonstrations
from nlf_sb3.errors import FeedbackError
from nlf_sb3.feedback import EXPERT_SEGMENT_KEY, FEEDBACK_ERROR_KEY, FEEDBACK_KEY, Feedback
from nlf_sb3.losses import policy_gradient_loss
from nlf_sb3.schedules import AlphaSchedule, as_schedule, check_alpha, schedule_from_state, schedule_to_state
from nlf_sb3.segments import ExpertSegment, Observations
from nlf_sb3.teachers.experts import Expert, as_expert
from nlf_sb3.validation import check_actions
from nlf_sb3.wrappers import FeedbackWrapper, TrajectoryInjection

SelfFeedbackAlgorithm = TypeVar("SelfFeedbackAlgorithm", bound="FeedbackAlgorithm")

STATE_KEY = "nlf_sb3"
"""Entry of a saved model that holds what SB3 doesn't know, as plain data."""

_CHOICES = {
    "imitation": ("nll", "kl"),
    "injection": ("bounded", "plain", "separate"),
    "on_error": ("raise", "skip"),
}
_SAVED = ("imitation", "injection", "injection_coef", "injection_vf_coef", "mode_trains_std", "on_error", "log_gradients")
_COUNTERS = ("num_expert_queries", "num_expert_steps")


class FeedbackAlgorithm(OnPolicyAlgorithm):
    """
    Mix into an on-policy algorithm of SB3, in front of it. Arguments that are not listed here are the original's.

    A rollout without any label or injected episode, and labels at ``alpha=1``, train exactly as the original does.

    :param policy: As in SB3
    :param env: As in SB3; wrap it in :class:`~nlf_sb3.FeedbackWrapper` or
        :class:`~nlf_sb3.TrajectoryInjection`, or neither
    :param alpha: Weight of the policy gradient, 1 - alpha that of imitation, wherever a rollout holds
        labels: a number in [0, 1] or a function of the progress remaining (:mod:`nlf_sb3.schedules`).
        Entropy and value terms keep their own coefficients.
    :param expert: Labels every row of a rollout that has no label of its own, in one batched call.
        Anything that :func:`~nlf_sb3.teachers.as_expert` takes
    :param imitation: ``"nll"``: -log pi(a_E|s). ``"kl"``: the analytic KL(pi_E || pi), which needs an
        ``expert`` that has a distribution
    :param demonstrations: Rows for the imitation loss that the agent needn't visit. A rollout of N rows
        draws at most N of them.
    :param injection: How injected rows are weighted. ``"bounded"``: together as ``injection_coef``
        times the agent's rows, however many there are, and with bounded rows
        (:func:`~nlf_sb3.algorithms.injection.build_injected_rows`). ``"plain"``: each as one of the
        agent's. ``"separate"``: plain, in an optimiser step of its own after the agent's update.
    :param injection_coef: See ``injection``
    :param injection_vf_coef: Weight of the injected rows in the critic's loss. Their returns are the
        expert's, so that by default they stay out of it.
    :param mode_trains_std: Let labels that are the expert's mode train the standard deviation too
    :param on_error: ``"raise"``, or ``"skip"`` to count bad feedback (``feedback/skipped``) and go on
    :param log_gradients: Log both terms' gradient norms and their cosine, on the first minibatch of each
        update. It costs two more backward passes there.
    :raises FeedbackError: At the step that brought bad feedback
    """

    rollout_buffer: Any
    """A :class:`~nlf_sb3.buffers.FeedbackBufferMixin` of whatever class the algorithm uses."""

    def __init__(
        self,
        policy: Any,
        env: Any,
        *args: Any,
        alpha: float | AlphaSchedule = 0.5,
        expert: Any = None,
        imitation: Literal["nll", "kl"] = "nll",
        demonstrations: Demonstrations | None = None,
        injection: Literal["bounded", "plain", "separate"] = "bounded",
        injection_coef: float = 1.0,
        injection_vf_coef: float = 0.0,
        mode_trains_std: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        log_gradients: bool = False,
        **kwargs: Any,
    ) -> None:
        self.alpha = alpha
        self.expert: Expert | None = expert
        self.imitation = imitation
        self.demonstrations = demonstrations
        self.injection = injection
        self.injection_coef = injection_coef
        self.injection_vf_coef = injection_vf_coef
        self.mode_trains_std = mode_trains_std
        self.on_error = on_error
        self.log_gradients = log_gradients
        self.num_expert_queries = 0
        self.num_expert_steps = 0
        super().__init__(policy, env, *args, **kwargs)

    def _setup_model(self) -> None:
        self._check_settings()
        super()._setup_model()
        keep_feedback(self.rollout_buffer)
        self._feedback_rng = np.random.default_rng(self.seed)
        self._statistics = FeedbackStatistics()
        self._raw_last_obs: Observations | None = None
        self._promised_feedback = False
        if self.expert is not None and self.seed is not None:
            self.expert.seed(self.seed)

    def _check_settings(self) -> None:
        """Raise on settings that don't fit together, before any step is taken."""
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected one of {', '.join(map(repr, choices))}.")
        as_schedule(self.alpha)
        for name in ("injection_coef", "injection_vf_coef"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected a finite number of at least 0.")
        if self.expert is not None:
            self.expert = as_expert(self.expert)
        if self.imitation == "kl" and self.expert is not None and _has_no_distribution(self.expert):
            raise FeedbackError(
                f"imitation='kl' needs an expert with a distribution, and {type(self.expert).__name__} has none "
                "(or acts with its mode). Use a stochastic expert, or imitation='nll'."
            )

    # --- collecting -----------------------------------------------------------------------------

    def _setup_learn(self, *args: Any, **kwargs: Any) -> Any:
        if self.imitation == "kl" and self.expert is None:
            raise FeedbackError(
                "imitation='kl' needs expert=, an expert with a distribution. Pass one, or use imitation='nll'."
            )
        result = super()._setup_learn(*args, **kwargs)
        assert self.env is not None
        if any(self.env.env_is_wrapped(TrajectoryInjection)):
            self.rollout_buffer.keep_episode_actions()
        self._promised_feedback = any(self.env.env_is_wrapped(FeedbackWrapper))
        self._raw_last_obs = self._original_observations()
        return result

    def _original_observations(self) -> Observations | None:
        """The last observations before VecNormalize changed them, if an expert needs them and it did."""
        vec_normalize = None if self.env is None else unwrap_vec_normalize(self.env)
        if self.expert is None or vec_normalize is None or not vec_normalize.norm_obs:
            return None
        return vec_normalize.get_original_obs()

    def _update_info_buffer(self, infos: list[dict[str, Any]], dones: np.ndarray | None = None) -> None:
        # Called between env.step and rollout_buffer.add, so that the buffer's position is this step's row.
        super()._update_info_buffer(infos, dones)
        if self._raw_last_obs is not None:
            self.rollout_buffer.add_raw_observation(self._raw_last_obs)
            self._raw_last_obs = self._original_observations()
        self._statistics.steps += len(infos)
        for env, info in enumerate(infos):
            if FEEDBACK_ERROR_KEY in info:
                self._refuse(env, str(info[FEEDBACK_ERROR_KEY]))
            if FEEDBACK_KEY in info:
                self._receive(env, info[FEEDBACK_KEY], self._stage_feedback)
            if EXPERT_SEGMENT_KEY in info:
                self._receive(env, info[EXPERT_SEGMENT_KEY], self._stage_segment)

    def _receive(self, env: int, value: Any, stage: Callable[[int, Any], None]) -> None:
        try:
            stage(env, value)
        except FeedbackError as error:
            self._refuse(env, str(error))

    def _refuse(self, env: int, message: str) -> None:
        if self.on_error == "raise":
            raise FeedbackError(f"environment {env}, step {self.num_timesteps}: {message}")
        self._statistics.skipped += 1

    def _stage_feedback(self, env: int, feedback: Any) -> None:
        if not isinstance(feedback, Feedback):
            raise FeedbackError(
                f"info[{FEEDBACK_KEY!r}] is {type(feedback).__name__}, expected nlf_sb3.Feedback. Build one from its parts."
            )
        if feedback.expert_action is not None:
            if self.imitation == "kl" and feedback.label == "mode":
                raise FeedbackError(
                    "a label that is a mode has no analytic KL. Use imitation='nll' or an expert that samples."
                )
            action = check_actions(feedback.expert_action[None], self.action_space, 1)[0]
            self.num_expert_queries += 1
            if not self.rollout_buffer.add_label(env, feedback, action):
                self._statistics.late += 1
        elif feedback.steps_ago and self.rollout_buffer.pos - feedback.steps_ago < self.rollout_buffer.first_row(env):
            self._statistics.late += 1
        self._statistics.count(feedback)

    def _stage_segment(self, env: int, segment: Any) -> None:
        if not isinstance(segment, ExpertSegment):
            raise FeedbackError(f"info[{EXPERT_SEGMENT_KEY!r}] is {type(segment).__name__}, expected nlf_sb3.ExpertSegment.")
        check_actions(segment.actions, self.action_space, len(segment), "expert segment")
        self.rollout_buffer.add_segment(env, segment)
        self.num_expert_steps += len(segment) - segment.fork_step
        self._statistics.count_segment(segment)

    # --- training -------------------------------------------------------------------------------

    def train(self) -> None:
        alpha = check_alpha(as_schedule(self.alpha)(self._current_progress_remaining))
        evaluate_actions = self.policy.evaluate_actions
        imitation = self._imitation_term(evaluate_actions)
        injected = self._injected_rows()
        self._warn_of_broken_promise()
        self._record_feedback(alpha if imitation is not None else None)
        if alpha == 1.0:
            imitation = None  # labels were asked for and counted, and train nothing
        scale = 1.0 if imitation is None else alpha
        n_rows = len(self.rollout_buffer.row_indices())
        injection = None if injected is None else self._injection_term(injected, n_rows)
        attached = None if self.injection == "separate" else injection
        if imitation is None and attached is None:
            super().train()
        else:
            loss_scale = self._loss_scale(n_rows)

            def extra_loss(batch: np.ndarray) -> th.Tensor:
                total = th.zeros((), device=self.device)
                if imitation is not None:
                    total = total + (1.0 - alpha) * imitation(batch)
                if attached is not None:
                    policy_loss, value_loss = attached(len(batch))
                    total = total + scale * policy_loss + value_loss
                return total * loss_scale

            observer = self._gradient_observer(imitation, loss_scale)
            with attached_loss(self.policy, self.rollout_buffer.take_last_batch, extra_loss, scale, observer):
                super().train()
            if imitation is not None:
                self.logger.record("train/imitation_loss", float(np.mean(imitation.losses)))
        if injection is not None and self.injection == "separate":
            self._separate_update(injection, scale, n_rows)

    def _imitation_term(self, evaluate_actions: Any) -> ImitationTerm | None:
        """Ask the expert for the rollout's labels; the term of all labelled rows, or None if there are none."""
        distribution = None
        if self.expert is not None:
            if self.imitation == "kl":
                distribution = self._ask(self._expert_distribution)
            else:
                self._ask(self._label_rollout)
        term = ImitationTerm(
            self.policy,
            evaluate_actions,
            self.rollout_buffer,
            expert_distribution=distribution,
            demonstrations=self._demonstration_rows(),
            mode_trains_std=self.mode_trains_std,
            rng=self._feedback_rng,
        )
        return term if term.n_labelled else None

    def _ask(self, question: Callable[[], Any]) -> Any:
        """Ask the expert; what it raises becomes a FeedbackError, or is counted and passed over."""
        try:
            return question()
        except Exception as error:  # whatever a user's expert raises
            message = str(error) if isinstance(error, FeedbackError) else f"it raised {type(error).__name__}: {error}"
            if self.on_error == "raise":
                raise FeedbackError(f"expert {type(self.expert).__name__}, step {self.num_timesteps}: {message}") from error
            self._statistics.skipped += 1
            return None

    def _expert_observations(self, rows: np.ndarray) -> Observations:
        raw = self.rollout_buffer.raw_observations
        return self.rollout_buffer.take_rows(self.rollout_buffer.observations if raw is None else raw, rows)  # type: ignore[no-any-return]

    def _expert_distribution(self) -> Distribution:
        assert self.expert is not None
        rows = self.rollout_buffer.row_indices()
        distribution = self.expert.distribution(self._expert_observations(rows))
        if distribution is None:
            raise FeedbackError("imitation='kl' needs its distribution, and it has none. Use imitation='nll'.")
        self.num_expert_queries += len(rows)
        return distribution

    def _label_rollout(self) -> None:
        """Fill the rollout's rows that have no label with the expert's, in one call."""
        assert self.expert is not None
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) == NO_LABEL]
        if not len(rows):
            return
        actions = check_actions(self.expert.act(self._expert_observations(rows)), self.action_space, len(rows))
        steps, envs = rows % buffer.buffer_size, rows // buffer.buffer_size
        buffer.label_actions[steps, envs] = actions
        buffer.label_kinds[steps, envs] = SAMPLE if self.expert.label == "sample" else MODE
        buffer.label_weights[steps, envs] = 1.0
        self.num_expert_queries += len(rows)

    def _demonstration_rows(self) -> DemonstrationRows | None:
        if self.demonstrations is None:
            return None
        assert self.env is not None
        demonstrations = self.demonstrations
        n_rows = min(len(demonstrations), len(self.rollout_buffer.row_indices()))
        chosen = self._feedback_rng.choice(len(demonstrations), n_rows, replace=False)
        observations = demonstrations.observations
        picked = {k: v[chosen] for k, v in observations.items()} if isinstance(observations, dict) else observations[chosen]
        tensor, _ = self.policy.obs_to_tensor(to_policy_observations(self.env, picked))  # type: ignore[arg-type]
        actions = check_actions(demonstrations.actions[chosen], self.action_space, n_rows, "demonstrations")
        assert demonstrations.weights is not None
        return DemonstrationRows(
            observations=tensor,
            actions=to_policy_actions(self.policy, actions),
            weights=th.as_tensor(demonstrations.weights[chosen], dtype=th.float32, device=self.device),
            is_mode=demonstrations.label == "mode",
        )

    def _injected_rows(self) -> InjectedRows | None:
        if not self.rollout_buffer.segments:
            return None
        assert self.env is not None
        return build_injected_rows(
            self.policy,
            self.env,
            self.rollout_buffer.segments,
            gamma=self.gamma,
            advantage_statistics=self._advantage_statistics(),
            use_critic=self._uses_critic(),
            bootstrap_at_time_limit=self._bootstraps_at_time_limit(),
            bounded=self.injection == "bounded",
        )

    def _injection_term(self, rows: InjectedRows, n_rows: int) -> InjectionTerm:
        self.logger.record("injection/advantage_mean", rows.advantages.mean().item())
        return InjectionTerm(
            rows,
            self.policy.evaluate_actions,
            self._policy_losses,
            n_rows=n_rows,
            coef=self.injection_coef if self.injection == "bounded" else None,
            vf_coef=self.injection_vf_coef,
            rng=self._feedback_rng,
        )

    def _separate_update(self, injection: InjectionTerm, scale: float, n_rows: int) -> None:
        """The paper's order: the injected episodes' own optimiser step, on the policy that the agent's has left."""
        self.policy.set_training_mode(True)
        policy_loss, value_loss = injection.loss_of_all(self._loss_scale(n_rows) / n_rows)
        self.policy.optimizer.zero_grad()
        (scale * policy_loss + value_loss).backward()  # type: ignore[no-untyped-call]
        if self.max_grad_norm is not None:
            th.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()

    def _gradient_observer(self, imitation: ImitationTerm | None, loss_scale: float) -> Any:
        if not self.log_gradients or imitation is None:
            return None
        parameters = [parameter for parameter in self.policy.parameters() if parameter.requires_grad]

        def observe(log_prob: th.Tensor, grad: th.Tensor) -> None:
            assert imitation.last_loss is not None
            with th.enable_grad():  # a backward pass is running
                imitation_loss = imitation.last_loss * loss_scale
            norms = gradient_norms(log_prob, grad, imitation_loss, parameters)
            for name, value in zip(("policy_gradient_norm", "imitation_gradient_norm", "gradient_cosine"), norms, strict=True):
                self.logger.record(f"train/{name}", value)

        return observe

    # --- what an algorithm says of its own policy loss ---------------------------------------------

    def _policy_losses(self, log_prob: th.Tensor, old_log_prob: th.Tensor, advantages: th.Tensor) -> th.Tensor:
        """The algorithm's policy loss, row by row, for injected rows: ``[k]`` each."""
        return policy_gradient_loss(log_prob, advantages)

    def _advantage_statistics(self) -> tuple[float, float] | None:
        """Mean and standard deviation with which the agent's advantages are normalised, if they are."""
        if not getattr(self, "normalize_advantage", False):
            return None
        advantages = self.rollout_buffer.advantages
        return float(advantages.mean()), float(advantages.std(ddof=1)) if advantages.size > 1 else 1.0

    def _uses_critic(self) -> bool:
        return True

    def _bootstraps_at_time_limit(self) -> bool:
        return True

    def _loss_scale(self, n_rows: int) -> float:
        """1 where the algorithm's policy loss is a mean over rows, N where it is a sum."""
        return 1.0

    # --- logging, saving --------------------------------------------------------------------------

    def _warn_of_broken_promise(self) -> None:
        statistics = self._statistics
        if self._promised_feedback and not statistics.records and not statistics.skipped:
            warnings.warn(
                f"The environment has a FeedbackWrapper, but the first {statistics.steps} steps carried no feedback: its "
                "teachers returned None. This rollout trains as plain Stable-Baselines3 does.",
                stacklevel=3,
            )
        self._promised_feedback = False

    def _record_feedback(self, alpha: float | None) -> None:
        buffer = self.rollout_buffer
        rows = buffer.row_indices()
        rows = rows[buffer.take_rows(buffer.label_kinds, rows) != NO_LABEL]
        if alpha is not None:
            self.logger.record("train/alpha", alpha)
            self.logger.record("feedback/expert_queries", self.num_expert_queries)
        if len(rows):
            taken = buffer.take_rows(buffer.actions, rows)
            labels = to_policy_actions(self.policy, buffer.take_rows(buffer.label_actions, rows)).cpu().numpy()
            self.logger.record("feedback/expert_agreement", expert_agreement(taken, labels, self.action_space))
        if buffer.segments:
            self.logger.record("injection/expert_steps", self.num_expert_steps)
        self._statistics.record(self.logger)
        self._statistics = FeedbackStatistics()

    def _excluded_save_params(self) -> list[str]:
        own = ["alpha", "expert", "demonstrations", *_SAVED, *_COUNTERS]
        own += ["_feedback_rng", "_statistics", "_raw_last_obs", "_promised_feedback"]
        return [*super()._excluded_save_params(), *own]

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """
        As in SB3. Experts, demonstrations and environments stay out; the file also loads in SB3's own class.

        :param path: As in SB3
        :param exclude: As in SB3
        :param include: As in SB3
        """
        state = {name: getattr(self, name) for name in (*_SAVED, *_COUNTERS)}
        self.__dict__[STATE_KEY] = {"alpha": schedule_to_state(as_schedule(self.alpha)), **state}
        try:
            super().save(path, exclude, include)
        finally:
            del self.__dict__[STATE_KEY]

    @classmethod
    def load(cls: type[SelfFeedbackAlgorithm], path: Any, env: Any = None, *args: Any, **kwargs: Any) -> SelfFeedbackAlgorithm:
        """
        As in SB3; models that SB3 saved load too. Pass ``expert=`` and ``demonstrations=`` anew.

        :param path: As in SB3
        :param env: As in SB3
        :param kwargs: As in SB3: they override what was saved
        :return: The model
        """
        model = super().load(path, env, *args, **kwargs)
        state = model.__dict__.pop(STATE_KEY, None)
        if state is not None:
            for name in (*_SAVED, *_COUNTERS):
                if name in state and name not in kwargs:
                    setattr(model, name, state[name])
            if "alpha" not in kwargs:
                model.alpha = schedule_from_state(state["alpha"])
        model._check_settings()
        return model


def _has_no_distribution(expert: Expert) -> bool:
    return expert.label == "mode" or type(expert).distribution is Expert.distribution
