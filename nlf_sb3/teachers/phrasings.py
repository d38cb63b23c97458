"""How teachers put it: paraphrases of each of LLF-Bench's five kinds of text."""

from __future__ import annotations

# {way} is a direction, {name} a dimension, {much} a size with its space or nothing.

REWARD_GOOD = (
    "Good.",
    "That went well.",
    "Nicely done.",
    "That is what I wanted to see.",
    "Well done, I am happy with that.",
    "Fine so far.",
)
REWARD_BAD = (
    "Bad.",
    "That did not go well.",
    "I am not happy with that.",
    "That was a poor move.",
    "This is getting worse.",
    "Not good at all.",
)
HINDSIGHT_POSITIVE = (
    "Going {way} was right.",
    "Yes, {way} was the correct way to go.",
    "It was good that you went {way}.",
    "Well done, {way} was exactly what was needed.",
    "You did well to go {way}.",
    "Good choice to go {way}.",
    "I agree with going {way} there.",
)
HINDSIGHT_NEGATIVE = (
    "You should not have gone {much}{away}.",
    "Going {away} was a mistake.",
    "It was wrong to go {away}.",
    "That was {much}too far {away}.",
    "{Away} was not the way to go.",
    "You went {much}too far {away}.",
    "You should have gone {much}{way} instead.",
    "I would not have gone {away} there.",
)
FUTURE_POSITIVE = (
    "Go {much}{way}.",
    "{Way}, please.",
    "Try to go {much}more {way}.",
    "Next time go {much}{way}.",
    "You need to move {much}{way}.",
    "Please go {much}further {way}.",
    "Better go {much}{way} here.",
    "It should be {much}more {way}.",
)
FUTURE_NEGATIVE = (
    "Do not go {away} here.",
    "Don't go so far {away}.",
    "Avoid going {away}.",
    "Stop going {away} like that.",
    "Never go {away} in a place like this.",
    "Go {much}less {away}.",
    "No more {away}, please.",
)
KEEP_GOING = (
    "Keep going {way}.",
    "Carry on {way}.",
    "Stay {way} like that.",
    "Go on {way} next time too.",
)
WITH_NAME = (
    "{name}: {text}",
    "{text} I mean the {name}.",
    "As for the {name}: {text}",
)
"""How a dimension is named, where there are several."""
SIZES = {"small": ("a bit ", "slightly ", "a little "), "normal": ("",), "large": ("much ", "a lot ", "far ")}
