"""Whether a direction is asked for, told as done, just named, or a state of the world."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlf_sb3.text.vocabulary import Token

ASKED, TOLD, BARE, STATE, STORY = "asked", "told", "bare", "state", "story"
"""What a clause does with a direction: "go left", "you went left", "left", "the cart is left", "my uncle went left"."""


class Sides(NamedTuple):
    """
    A clause around a direction, as letters of :mod:`nlf_sb3.text.lexicon`.

    :param left: What stands before it, after the direction before
    :param right: What stands behind it
    :param whole: The clause
    :param following: Clauses behind it that name no direction
    :param inherited: The mood of the clause that it is joined to; None if it isn't
    :param opens: The sign or word before the clause
    """

    left: str
    right: str
    whole: str
    following: str
    inherited: str | None
    opens: str


_WISHES = re.compile("[hFU]")
_DEGREE = re.compile("[xle]")
_STATES = [
    (re.compile(left), re.compile(but))
    for left, but in (
        # who or what is somewhere: "the ball lies", "it leans", "there's a wall"
        (r"^(?=[^M]*$)(?:.*[^vghdY])?[suOIo][^vghdYkx]*[BS]|[su].*S|B[^Mvghdn]*s|^[Ys2]*BS|^3?BS|^S", r"^[^M]*[hvkxle]"),
        (r"J[^vghd]*Bk?$", "[xlenpq]"),  # "the arm is up"
        (r"Y[^dv]*B", "[xlenkmpqdghb]"),  # "you are on the left"
        (
            r"^[^YvhdgIFUWnkxleaqp]*[sL][^hJv]*$|^B[^YnqphM]*g|^Ys[^hJvM]*[BS]",
            "^$",
        ),  # "the cart keeps left", "it is going left"
        (r"J.*S|S.*J", "^$"),
        (r"^[^YIhvgd]*q2$", "^$"),  # "it fell to the left"
        (r"J1[^nh]*$", "[xlepq]"),  # "the arm has come down"
        (r"^(?=[^JYd]*$).*s[^hM]*B[^vh]*$", "^$"),
    )
]
_SUBJECT_BEFORE = re.compile(r"^[su]+[^YvgdhM]*$")
_PLACE = re.compile("[Ls]")
_ACTING = re.compile("[vgdhpqnabxKFU]")
_TAKEN = re.compile("B[^MnYhvg]*d")
_OTHERS = re.compile(r"^[^YHvhgp]*[IO][nK]*$|(?:^|[^YH])[IO][nuK]*[du]|^uu*[dgK]")
_TELLING = re.compile("[db]|Y.*[gB1a]|1.*n|n.*1|^Yn")
_PASSIVE = re.compile("^[^vK]*[YBu]|^$|^n$")
_ATTRIBUTES = frozenset(("left", "right", "back", "front", "upper", "lower", "port", "starboard", "left-hand", "right-hand"))
_STANDS = frozenset(("open", "closed", "opened", "shut", "up", "down", "high", "low", "tight", "wide", "on", "off"))
_MEANWHILE = re.compile("[YIO]?J?[vgB1]+$")
_IS = re.compile("^[^vghdYJ]*B$")
_PASTS = frozenset(("shut", "spread", "cut", "put", "set"))


def mood_of(token: Token, sides: Sides) -> str:
    """
    :param token: The word that names a direction
    :param sides: The clause around it
    :return: One of the moods
    """
    left = sides.left
    is_past = token.word.endswith("ed") or (token.word in _PASTS and left != "")
    if sides.opens in ("before", "until") and _MEANWHILE.match(left):
        return STATE
    if _WISHES.search(left):
        return ASKED
    if _is_state(token, sides, is_past):
        return STATE
    if _OTHERS.search(left) and "Y" not in left:
        return STORY
    if _TELLING.search(left) or _TAKEN.match(sides.right):
        return TOLD
    if is_past and len(sides.whole) > 1 and _PASSIVE.search(left):
        return sides.inherited if sides.inherited and not left else TOLD
    if sides.inherited == TOLD and "v" not in left:
        return TOLD
    is_verb = not left and sides.right.startswith("J") and not token.word.endswith("ing")  # "lift the arm"
    return ASKED if is_verb or ("v" in left and "Yv" not in left) else BARE


def _is_state(token: Token, sides: Sides, is_past: bool) -> bool:
    left, right = sides.left, sides.right
    around = f"{left}M{right}"
    is_overdone = is_past and _DEGREE.search(right) is not None
    if not is_overdone and any(pattern.search(left) and not but.search(around) for pattern, but in _STATES):
        return True
    if token.word in _ATTRIBUTES and _PLACE.match(right) and sides.whole != "ML":
        return not _ACTING.search(left + right[1:] + sides.following)
    if token.word in _STANDS and _IS.search(left) and not re.search("[xlenpq]", around):
        return True
    if not left and right.startswith("Bs"):  # "on the left there's a wall"
        return True
    return right.startswith("B") and _SUBJECT_BEFORE.search(left) is not None and not re.search("[xlepq]", right)
