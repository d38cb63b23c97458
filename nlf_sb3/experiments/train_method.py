"""How the expert trains the agent in nlf-sb3 train, and which options that leaves something to say."""

from __future__ import annotations

from dataclasses import replace

from nlf_sb3.experiments.train import Train
from nlf_sb3.schedules import AlphaSchedule, LinearSchedule, check_alpha

METHODS_OF_THE_WRAPPER = {"injection": "fork", "takeover": "takeover"}
"""Methods in which the expert acts, and TrajectoryInjection's name for each."""

ALPHA = "0.5"
"""Of --alpha, where it is left out and no preset has one."""

_TAKEOVER_PROBABILITY = 0.01
"""Of --fork-probability, where takeovers leave it out: the wrapper's own suits forks, and leaves the agent 1.5 steps."""


def method_of(options: Train) -> str:
    """
    :param options: The command's
    :return: How the expert trains the agent
    :raises ValueError: If what the method needs isn't there, or what is there isn't used
    """
    teaches = options.expert is not None or options.demonstrations is not None
    method = options.method or ("joint" if teaches else "none")
    if method in METHODS_OF_THE_WRAPPER and options.expert is None:
        raise ValueError(f"--method {method} needs --expert, which acts in the environment.")
    if method == "joint" and not teaches:
        raise ValueError("--method joint needs --expert or --demonstrations. --method none trains without either.")
    if method == "none" and teaches:
        raise ValueError("--method none uses no --expert and no --demonstrations. Leave them out, or choose another method.")
    return method


def completed(options: Train) -> Train:
    """
    :param options: The command's
    :return: The same, with what the method takes where an option was left out
    :raises ValueError: If an option is out of its range, or the method has no use for it
    """
    method, probability = method_of(options), options.fork_probability
    if options.alpha is not None:
        parse_alpha(options.alpha)
    if method not in METHODS_OF_THE_WRAPPER and probability is not None:
        raise ValueError(
            f"--fork-probability is for an expert that acts, and in --method {method} none does. Leave it out, or choose "
            "--method injection or takeover."
        )
    if probability is not None and not 0.0 < probability <= 1.0:
        raise ValueError(f"--fork-probability: got {probability}, expected a number in (0, 1].")
    if method != "joint" and options.demonstrations is None:
        for name, is_given in (("alpha", options.alpha is not None), ("imitation", options.imitation != "nll")):
            if is_given:
                raise ValueError(
                    f"--{name} is for imitation, and --method {method} without --demonstrations imitates nothing. Leave it "
                    "out, pass --demonstrations, or choose --method joint."
                )
    if method == "takeover" and probability is None:
        probability = _TAKEOVER_PROBABILITY
    alpha = options.alpha or (None if options.preset == "feedback" else ALPHA)  # the preset has one of its own
    return replace(options, alpha=alpha, fork_probability=probability)


def parse_alpha(text: str) -> float | AlphaSchedule:
    """
    >>> parse_alpha("0.1:1.0")
    LinearSchedule(start=0.1, end=1.0, end_fraction=1.0)

    :param text: A number, or START:END
    :return: alpha, or its schedule
    :raises ValueError: For anything else
    """
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ValueError(f"--alpha: got {text!r}, expected a number in [0, 1], or START:END such as 0.1:1.0.")
    return check_alpha(numbers[0]) if len(numbers) == 1 else LinearSchedule(*numbers)
