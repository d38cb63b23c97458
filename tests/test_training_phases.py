"""Phases of a training: their sizes, their learning rates, how they are saved, and what is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import stable_baselines3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from nlf_sb3 import PPO, REINFORCE
from nlf_sb3.interop.critic import warm_up_critic
from nlf_sb3.schedules import AdaptiveAlpha, LinearSchedule, TrainingPhases
from tests.contrib_helpers import MaskedToy, masked_expert
from tests.helpers import ToyEnv, box_expert
from tests.learners import is_finite, learner, parameters_of

PHASES = TrainingPhases(n_steps=24, batch_size=16, begin=0.5, least_rollouts=2)
SETTINGS = {"phases": PHASES, "alpha": LinearSchedule(0.1, 1.0, end_fraction=0.5)}
COUNTS_STEPS = ("A2C", "PPO", "TRPO", "RecurrentPPO", "MaskablePPO")


class Ends(BaseCallback):
    """Notes where rollouts end, and the size of their minibatches."""

    def __init__(self):
        super().__init__()
        self.rollouts = []

    def _on_step(self):
        return True

    def _on_rollout_end(self):
        self.rollouts.append((self.num_timesteps, getattr(self.model, "batch_size", None)))


def ends_of(model, timesteps, **kwargs):
    ends = Ends()
    model.learn(timesteps, callback=ends, **kwargs)
    return ends.rollouts


def model_of(algorithm="PPO", **kwargs):
    masked = algorithm == "MaskablePPO"
    env = MaskedToy(is_strict=True) if masked else ToyEnv("box")
    expert = masked_expert if masked else box_expert
    return learner(algorithm, DummyVecEnv([lambda: env]), **{**SETTINGS, "expert": expert, **kwargs})


@pytest.mark.parametrize("algorithm", COUNTS_STEPS)
def test_rollouts_become_longer_from_a_share_of_training_on(algorithm):
    model = model_of(algorithm)
    before = parameters_of(model)
    short, long = (None, None) if algorithm == "A2C" else (8, 16)
    expected = [(12, short), (24, short), (36, short), (48, short), (72, long), (96, long)]
    assert ends_of(model, 96) == expected
    assert is_finite(model)
    assert not np.array_equal(parameters_of(model), before)
    assert ends_of(model, 96) == expected, "a new training begins with short ones"
    assert ends_of(model, 48, reset_num_timesteps=False) == [(120, long), (144, long)], "and a longer one goes on"


def test_rollouts_stay_short_where_labels_teach_to_the_end():
    assert ends_of(model_of(alpha=0.5), 60) == [(12, 8), (24, 8), (36, 8), (48, 8), (60, 8)]
    assert ends_of(model_of(alpha=1.0), 48) == [(12, 8), (24, 8), (36, 8), (48, 8)], "nothing was imitated"


@dataclass
class FailsAtOnce(AdaptiveAlpha):
    """Imitates in the first rollout, and finds in the second that it did harm."""

    n_asked: int = 0

    def alpha(self, state):
        self.n_asked += 1
        return 0.5 if self.n_asked == 1 else 1.0

    @property
    def is_open(self):
        return self.n_asked < 2

    @property
    def failed(self):
        return self.n_asked == 2


def test_rollouts_stay_short_where_few_longer_ones_would_fit():
    fits = replace(PHASES, least_rollouts=2)
    assert ends_of(model_of(phases=fits), 96)[4:] == [(72, 16), (96, 16)]
    too_many = replace(PHASES, least_rollouts=3)
    assert ends_of(model_of(phases=too_many), 96)[4:] == [(60, 8), (72, 8), (84, 8), (96, 8)]


def test_rollouts_stay_short_where_what_was_imitated_was_undone():
    assert ends_of(model_of(alpha=FailsAtOnce()), 60) == [(12, 8), (24, 8), (36, 8), (48, 8), (60, 8)]


OTHERWISE = replace(PHASES, otherwise=TrainingPhases(n_steps=18, batch_size=4, begin=0.4, least_rollouts=2))


@pytest.mark.parametrize("settings", [{"alpha": 1.0}, {"alpha": FailsAtOnce()}, {"expert": None}])
def test_other_numbers_hold_where_nothing_of_imitation_is_left(settings):
    model = model_of(**{"phases": OTHERWISE, **settings})
    expected = [(12, 8), (24, 8), (36, 8), (48, 8), (66, 4), (84, 4), (102, 4)]
    assert ends_of(model, 96) == expected
    assert (model.n_steps, model.rollout_buffer.buffer_size) == (18, 18)


def test_a_model_that_imitated_has_its_own_numbers_and_not_the_others():
    assert ends_of(model_of(phases=OTHERWISE), 96) == ends_of(model_of(), 96)


def test_other_numbers_hold_where_few_longer_ones_would_fit():
    rollouts = ends_of(model_of(phases=replace(OTHERWISE, least_rollouts=3)), 96)
    assert rollouts[3:] == [(48, 8), (66, 4), (84, 4), (102, 4)]


class Rates(BaseCallback):
    """Notes the learning rate of each update."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def _on_step(self):
        return True

    def _on_rollout_start(self):
        self.rates.append(self.model.policy.optimizer.param_groups[0]["lr"])


def test_training_phases_have_a_learning_rate_of_their_own():
    longer = replace(PHASES, learning_rate=0.01)
    model, rates = model_of(phases=longer, learning_rate=0.1), Rates()
    model.learn(120, callback=rates)
    # Rollouts end at 12, 24, 36, 48, 60, 84, 108 and 132; the longer ones' updates are made at 84 and later.
    assert rates.rates[1:] == pytest.approx([0.1] * 5 + [0.01 * 2 * 36 / 120, 0.01 * 2 * 12 / 120])
    model.learn(24, callback=rates)
    assert rates.rates[-1] == 0.1
    own = Rates()
    model_of(learning_rate=0.1).learn(120, callback=own)
    assert set(own.rates[1:]) == {0.1}


class ResizedByHand(stable_baselines3.PPO):
    def train(self):
        super().train()
        if self.num_timesteps == 48:
            self.n_steps, self.batch_size = 24, 16
            spaces = self.observation_space, self.action_space
            self.rollout_buffer = type(self.rollout_buffer)(24, *spaces, self.device, self.gae_lambda, self.gamma)


def test_what_follows_is_stable_baselines3s_training_with_another_size():
    def hardly_any_imitation(progress_remaining):
        return 1.0 if progress_remaining < 0.6 else 1.0 - 1e-9

    ours = model_of(alpha=hardly_any_imitation)
    our_ends = ends_of(ours, 96)
    theirs = learner("PPO", DummyVecEnv([lambda: ToyEnv("box")]), subclass=ResizedByHand)
    assert ends_of(theirs, 96) == our_ends
    np.testing.assert_allclose(parameters_of(ours), parameters_of(theirs), atol=1e-6)


def test_a_saved_model_goes_on_with_phases_and_begins_anew_with_short_ones(tmp_path):
    model = model_of()
    model.learn(96)
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=ToyEnv("box"), expert=box_expert, device="cpu")
    assert loaded.phases == PHASES
    assert ends_of(loaded, 24, reset_num_timesteps=False) == [(120, 16)]
    assert ends_of(loaded, 96)[3:] == [(48, 8), (72, 16), (96, 16)]
    theirs = stable_baselines3.PPO.load(tmp_path / "model", env=ToyEnv("box"), device="cpu")
    assert (theirs.n_steps, theirs.batch_size) == (24, 16)
    plain = PPO.load(tmp_path / "model", env=ToyEnv("box"), expert=box_expert, device="cpu", phases=None)
    assert plain.phases is None


def test_a_saved_model_that_imitated_nothing_goes_on_with_the_other_numbers(tmp_path):
    model = model_of(phases=replace(OTHERWISE, learning_rate=0.01), alpha=1.0)
    model.learn(84)  # ends at 90
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", env=ToyEnv("box"), expert=box_expert, device="cpu")
    assert loaded.phases == model.phases
    assert ends_of(loaded, 30, reset_num_timesteps=False) == [(108, 4), (126, 4)]
    assert ends_of(loaded, 96)[2:5] == [(36, 8), (48, 8), (66, 4)]


def test_a_critic_may_be_warmed_up_before():
    model = model_of()
    warm_up_critic(model, 48)
    assert ends_of(model, 96)[0] == (12, 8)
    assert (model.n_steps, model.rollout_buffer.buffer_size) == (24, 24)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingPhases(n_steps=1), "n_steps: got 1"),
        (lambda: TrainingPhases(batch_size=0.5), "batch_size: got 0.5"),
        (lambda: TrainingPhases(least_rollouts=0), "least_rollouts: got 0"),
        (lambda: TrainingPhases(learning_rate=0.0), "learning_rate: got 0.0, expected a number above 0"),
        (lambda: TrainingPhases(otherwise=512), "otherwise: got 512, expected None or another TrainingPhases"),
        (lambda: TrainingPhases(begin=1.0), "begin: got 1.0, expected a number between 0 and 1"),
        (lambda: model_of(phases=1024), r"phases: got 1024, expected .*TrainingPhases\("),
        (lambda: REINFORCE("MlpPolicy", ToyEnv("box"), phases=PHASES), "rollouts of REINFORCE are whole episodes"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
