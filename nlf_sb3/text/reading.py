"""Read one remark: which way, more or less of the same, praise or blame, how much, and how surely that was understood."""

from __future__ import annotations

import re
from typing import NamedTuple

from nlf_sb3.action_names import ActionNames
from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.clauses import Clause, clauses_of, codes_of
from nlf_sb3.text.grammar import Mention, judge, read_mentions
from nlf_sb3.text.moods import TOLD
from nlf_sb3.text.senses import PARTICLES
from nlf_sb3.text.tokens import Token, Tokenizer

_MAX_CHARACTERS = 600
_CACHED = 4096


class Reading(NamedTuple):
    """
    What one remark says, whatever was done.

    :param ways: Which way to go, for each dimension spoken of: more than 0 for up, less for down
    :param told: Directions that the remark says were taken, by dimension; 0 where it says none
    :param dimension: The dimension named; None if none is
    :param more: 1 if it asks for more of what was done, -1 for less, 0 for neither
    :param turns: Whether it asks for the opposite of what was done
    :param valence: Praise minus blame
    :param size: -1 for a bit, 1 for a lot, 0 for neither
    :param confidence: How surely it was understood, from 0 to 1
    :param is_of_action: Whether it speaks of the action by name
    """

    ways: dict[int, int]
    told: dict[int, int]
    dimension: int | None
    more: int
    turns: bool
    valence: int
    size: int
    confidence: float
    is_of_action: bool


class Reader:
    """
    Reads remarks about actions of one space, and remembers what it has read.

    :param names: What people call its dimensions and directions
    """

    def __init__(self, names: ActionNames) -> None:
        self._tokenizer = Tokenizer(names)
        self._read: dict[str, Reading] = {}

    def read(self, text: str) -> Reading:
        """
        :param text: A remark
        :return: What it says
        """
        reading = self._read.get(text)
        if reading is None:
            if len(self._read) >= _CACHED:
                self._read.clear()
            reading = self._read[text] = self._read_new(text)
        return reading

    def _read_new(self, text: str) -> Reading:
        tokens = self._tokenizer.tokens(text[:_MAX_CHARACTERS])
        return Summary(tokens, self._tokenizer.quantities).reading(min(1.0, _MAX_CHARACTERS / max(len(text), 1)))


class Summary:
    """What the clauses of a remark add up to."""

    def __init__(self, tokens: list[Token], quantities: set[int]) -> None:
        self._tokens = _without_discourse(tokens)
        self._quantities = quantities
        self._clauses = clauses_of(self._tokens)
        self.valence = 0
        self.more = 0
        self.turns = False
        self.size = 0
        self.keeps = False
        self.doubt = 1.0
        self.mentions: list[Mention] = []
        self.ways: dict[int, int] = {}
        self.told: dict[int, int] = {}
        self.dimension = next((token.dimension for token in self._tokens if token.dimension is not None), None)

    def reading(self, share: float) -> Reading:
        self._read_clauses()
        self._place()
        confidence = self.doubt * share * self._understood() * self._evidence()
        is_of_action = any(mention.mood == "told" for mention in self.mentions)
        return Reading(
            self.ways, self.told, self.dimension, self.more, self.turns, self.valence, self.size, confidence, is_of_action
        )

    def _read_clauses(self) -> None:
        takes_back = False
        mood: str | None = None
        for number, clause in enumerate(self._clauses):
            codes = codes_of(clause.tokens)
            self._note_size(clause, codes)
            if clause.has_mention:
                follow = self._clauses[number + 1 :]
                following = ""
                for later in follow:
                    if later.has_mention and later.opens != "and":
                        break
                    following += "" if later.has_mention else codes_of(later.tokens)
                carried = mood if clause.opens == "and" and not re.search("[YIh]", codes) else None
                if self.mentions and (takes_back or _corrects(clause, codes)):
                    self._take_back()
                takes_back = False
                found = read_mentions(clause, following, carried)
                found = [self._judged(mention, following, follow, clause) for mention in found]
                mood = found[-1].mood
                if (
                    clause.opens == "and"
                    and self.mentions
                    and found
                    and self.mentions[-1].is_negated
                    and not re.search("[YIvhd]", codes)
                ):
                    found = [mention._replace(polarity=-abs(mention.polarity)) for mention in found]
                self.mentions += found
                self._note_valence(codes, found)
            else:
                takes_back |= re.match("[nqp]*C", codes) is not None
                self._read_plain(clause, codes, number)

    def _take_back(self) -> None:
        self.mentions = [mention._replace(polarity=0) for mention in self.mentions]

    def _note_valence(self, codes: str, found: list[Mention]) -> None:
        moods = {mention.mood for mention in found}
        verdict = judge(codes).value
        if "state" in moods or ("asked" in moods and "told" not in moods and not re.match("[^vMh]*[pqW]", codes)):
            return
        if verdict < 0 or (verdict > 0 and all(mention.polarity >= 0 for mention in found)):
            self.valence += verdict
        self.valence -= bool(re.search("[xl]", codes)) and verdict >= 0
        self.keeps |= "K" in codes and any(mention.polarity > 0 for mention in found)

    def _judged(self, mention: Mention, following: str, follow: list[Clause], clause: Clause) -> Mention:
        """A mention as what follows it judges it."""
        if not following or mention.mood == "state" or not mention.polarity:
            return mention
        verdict = judge(following).value
        codes = codes_of(clause.tokens)
        is_bare = mention.mood in ("bare", "told")
        if "C" in following and "M" not in following and "q" not in following:
            return mention
        if "F" in codes or "U" in codes:
            blamed = judge(following.replace("S", "q")).value < 0
            return mention._replace(polarity=-mention.polarity) if blamed else mention
        if mention.mood == TOLD and mention.is_negated and verdict > 0:
            return mention._replace(polarity=-1)
        if is_bare and not mention.is_negated and not re.search("[xleq]", codes):
            if "l" in following:
                return mention._replace(polarity=1, is_judged=True)
            if re.search("(?<!n)x|k", following):
                return mention._replace(polarity=-1)
            if "m" in following or "r" in following:
                return mention._replace(mood="asked")
            if verdict < 0:
                return mention._replace(polarity=-mention.polarity)
        return mention

    def _read_plain(self, clause: Clause, codes: str, number: int) -> None:
        """A clause without a direction."""
        side = judge(codes)
        if any(token.role == roles.TURN for token in clause.tokens):
            self.turns |= not re.search("n[^K]*T", codes) or "K" not in codes
            return
        is_state = re.search("[su]B|S", codes) is not None and "q" not in codes and "p" not in codes
        self.valence += side.value if side.value else -(side.is_negated and codes in ("n",))
        if "K" in codes:
            self.keeps |= not re.search("n[^K]*K", codes)
        more = 0
        manner = False
        if re.search("l(?![pq])", codes) or re.search("x[^M]*w|n.*[ew]", codes):
            more = 1
        elif "x" in codes:
            more = -1
        elif re.search("[na].*j", codes):
            more, manner = -1, True
        elif re.search("k|y", codes):
            more, manner = (1 if side.is_negated else -1), "y" in codes
        elif re.search("[mrZ]", codes):
            more, manner = (-1 if side.is_negated else 1), "r" in codes
        elif "a" in codes and "n" not in codes and "J" in codes:
            more = -1
        if more == 0 and re.fullmatch("[YI]?[Bd]?n?[j]", codes):
            more = 0
        if not more or is_state:
            return
        dimension = next((token.dimension for token in clause.tokens if token.dimension is not None), None)
        if dimension in self._quantities and not manner:
            self.mentions.append(Mention(((dimension, 1),), dimension, more, "asked", 1.0))
        elif not self.mentions:
            self.more = more
        self.valence -= "x" in codes or re.search("l(?![pq])", codes) is not None
        if more and not self.size and self.mentions:
            self.size = 1 if more > 0 and "r" in codes else -1 if "y" in codes else 0

    def _note_size(self, clause: Clause, codes: str) -> None:
        words = [token.word for token in clause.tokens]
        if "z" in codes or "y" in codes and "M" in codes or ("w" in codes and "x" not in codes and "little" in words):
            self.size = self.size or -1
        elif ("Z" in codes or ("M" in codes and "r" in codes) or re.search("jm|j(?=M)|jk|jxj|jr", codes)) and not re.search(
            "x(?!j)|n", codes
        ):
            self.size = self.size or 1
        elif re.search("[jZ]x", codes):
            self.size = self.size or 1

    def _place(self) -> None:
        self._settle_conflicts()
        for mention in self.mentions:
            ways = (
                [way for way in mention.ways if way[0] == mention.dimension]
                or [way for way in mention.ways if way[0] == self.dimension]
                or list(mention.ways)
            )
            if mention.polarity == 0:
                continue
            if len({way[0] for way in ways}) > 1:
                self.doubt = min(self.doubt, 0.2)
            is_told = mention.mood == "told" and mention.polarity > 0 and not (mention.is_judged or mention.is_negated or self.valence > 0)
            kept = self.told if is_told else self.ways
            for index, direction in ways:
                kept[index] = kept.get(index, 0) + mention.polarity * direction
            self.doubt = min(self.doubt, mention.doubt)
        self.valence = self.valence + (self.keeps and self.valence == 0)

    def _settle_conflicts(self) -> None:
        """Of opposite wishes the last counts, with less confidence."""
        asked = [mention for mention in self.mentions if mention.polarity and mention.mood != "state"]
        for number in range(len(asked) - 1, 0, -1):
            last = {(d, s * asked[number].polarity) for d, s in asked[number].ways}
            for earlier in asked[:number]:
                opposite = any((d, -s * earlier.polarity) in last for d, s in earlier.ways)
                if opposite and (earlier.dimension == asked[number].dimension):
                    if earlier.mood == "told" and earlier.polarity > 0 and asked[number].mood != "told":
                        continue
                    self.mentions[self.mentions.index(earlier)] = earlier._replace(polarity=0)
                    self.doubt = min(self.doubt, 0.5)
            break

    def _understood(self) -> float:
        """Less for each unknown word, and least for one beside a direction."""
        tokens = [token for token in self._tokens if token.role not in ",.?#"]
        if not tokens:
            return 0.0
        understood = 1.0
        places = [index for index, token in enumerate(tokens) if token.role == roles.MENTION]
        for index, token in enumerate(tokens):
            if token.role in (roles.UNKNOWN, roles.OTHER_SENSE):
                distance = min((abs(index - place) for place in places), default=2 if self.more or self.turns else 4)
                understood *= 0.25 if distance <= 2 else 0.4 if distance <= 5 else 0.6
        return max(understood * min(1.0, 60 / len(tokens)), 0.04)

    def _evidence(self) -> float:
        """Whether a short word like "up" has a sign near it that a move is meant."""
        if not any(mention.polarity for mention in self.mentions):
            return 1.0
        if all(mention.word in PARTICLES - {"left", "right"} for mention in self.mentions if mention.polarity):
            codes = codes_of(self._tokens)
            if not re.search("[JvgdhH]", codes) and re.search("u|o|s", codes):
                return 0.2
        return 1.0


def _corrects(clause: Clause, codes: str) -> bool:
    return codes.startswith("C") or bool(re.match("[nqp]*C", codes)) or clause.opens == "?"


def _without_discourse(tokens: list[Token]) -> list[Token]:
    """Without "right" where it just opens a remark: "right, now go left"."""
    start = next((index for index, token in enumerate(tokens) if token.role not in "p,.f"), 0)
    if len(tokens) < start + 2 or tokens[start].word != "right" or not tokens[start].ways:
        return tokens
    rest = tokens[start + 1 :]
    if not any(token.ways for token in rest):
        return tokens
    is_stop = rest[0].role in ",."
    opens = is_stop or rest[0].word in ("so", "then", "now", "you", "ok", "okay", "right", "and", "on")
    has_turn = any(token.role == roles.CORRECTED or token.word in ("no", "not", "instead") for token in rest[:4])
    return rest[1:] if is_stop else rest if opens and not has_turn else tokens
