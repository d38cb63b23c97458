"""What the clauses of a remark add up to."""

from __future__ import annotations

import re

from nlf_sb3.text import lexicon as roles
from nlf_sb3.text.clauses import Clause, clauses_of, codes_of
from nlf_sb3.text.comparison import Mention
from nlf_sb3.text.grammar import judge, read_mentions
from nlf_sb3.text.moods import ASKED, BARE, STATE, TOLD
from nlf_sb3.text.relative import read_relative
from nlf_sb3.text.vocabulary import Token

_UNNAMED, _CONFLICTING = 0.2, 0.5
"""Confidence in a direction of one dimension of several, which isn't named; and in the last of opposite wishes."""
_OWN_SUBJECT, _OWN_VERB = re.compile("[YIh]"), re.compile("[YIvhd]")
_LEADS_TO = re.compile("[Ys]h?[^vdgp]*q")
_CORRECTS = re.compile("[nqp]*C")
_JUDGED_FIRST, _DEGREE, _SETTLED = re.compile("[^vMh]*[pqW]"), re.compile("[xl]"), re.compile("[xleq]")
_LESS, _MORE = re.compile("(?<!n)x|k"), re.compile("[mr]")
_SMALL, _LARGE = re.compile("z|y.*M|M.*y"), re.compile("Z|M.*r|r.*M|j[mMkr]|jxj")
_PLAIN_EXCESS, _VERY_EXCESSIVE = re.compile("x(?!j)|n"), re.compile("[jZ]x")


class Summary:
    """
    What the clauses of a remark add up to, with the names of :class:`~nlf_sb3.text.reading.Reading`.

    :param tokens: The remark
    :param quantities: Dimensions of which there can be more and less, whatever was done
    """

    def __init__(self, tokens: list[Token], quantities: set[int]) -> None:
        self._quantities = quantities
        self.valence = self.more = self.size = 0
        self.turns = self._keeps = False
        self.doubt = 1.0
        self.mentions: list[Mention] = []
        self.ways: dict[int, int] = {}
        self.told: dict[int, int] = {}
        self.dimension = next((token.dimension for token in tokens if token.dimension is not None), None)
        self._read_clauses(clauses_of(tokens))
        self._settle_conflicts()
        for mention in self.mentions:
            self._place(mention)
        self.valence += self._keeps and self.valence == 0

    @property
    def is_of_action(self) -> bool:
        return any(mention.mood == TOLD for mention in self.mentions)

    def _read_clauses(self, clauses: list[Clause]) -> None:
        takes_back, mood = False, None
        for number, clause in enumerate(clauses):
            codes = codes_of(clause.tokens)
            self._note_size(clause, codes)
            corrects = _CORRECTS.match(codes) is not None
            if not clause.has_mention:
                takes_back |= corrects
                self._read_plain(clause, codes)
                continue
            if takes_back or corrects or clause.opens == "?":
                self.mentions = [mention._replace(polarity=0) for mention in self.mentions]
            takes_back = False
            if corrects:
                clause = _corrected(clause)
                codes = codes_of(clause.tokens)
            following = _following(clauses[number + 1 :])
            carried = mood if clause.opens == "and" and not _OWN_SUBJECT.search(codes) else None
            found = [_judged(mention, following, codes) for mention in read_mentions(clause, following, carried)]
            if number + 1 < len(clauses) and _is_threat(clauses[number + 1]):
                found = [mention._replace(polarity=-abs(mention.polarity)) for mention in found]
            if clause.closes == "?" and roles.AGAIN in codes and not _OWN_VERB.search(codes):  # "left again?!"
                found = [mention._replace(polarity=-abs(mention.polarity)) for mention in found]
            mood = found[-1].mood
            if clause.opens == "and" and self.mentions and self.mentions[-1].is_negated and not _OWN_VERB.search(codes):
                found = [mention._replace(polarity=-abs(mention.polarity)) for mention in found]  # "don't lift and open"
            self.mentions += found
            self._note_valence(codes, found)

    def _note_valence(self, codes: str, found: list[Mention]) -> None:
        moods = {mention.mood for mention in found}
        if STATE in moods or (ASKED in moods and TOLD not in moods and not _JUDGED_FIRST.match(codes)):
            return
        verdict = judge(codes).value
        if verdict < 0 or all(mention.polarity >= 0 for mention in found):
            self.valence += verdict
        self.valence -= verdict >= 0 and _DEGREE.search(codes) is not None
        self._keeps |= roles.AGAIN in codes and any(mention.polarity > 0 for mention in found)

    def _read_plain(self, clause: Clause, codes: str) -> None:
        """A clause without a direction."""
        verdict = judge(codes)
        relative = read_relative(clause, codes, verdict.is_negated)
        if relative.turns or roles.TURN in codes:
            self.turns |= relative.turns
            return
        self.valence += verdict.value - (codes == roles.NOT) - relative.is_blamed
        self._keeps |= roles.AGAIN in codes and re.search("n[^K]*K", codes) is None
        if not relative.more:
            return
        if clause.dimension in self._quantities and not relative.is_manner:
            self.mentions.append(Mention(((clause.dimension, 1),), clause.dimension, relative.more, ASKED))
        elif not self.mentions:
            self.more = relative.more
        elif not self.size and relative.is_manner:  # "push right, harder"
            self.size = relative.more

    def _note_size(self, clause: Clause, codes: str) -> None:
        if self.size:
            return
        is_little = roles.EXCESS not in codes and any(token.word == "little" for token in clause.tokens)
        if is_little or _SMALL.search(codes):
            self.size = -1
        elif (_LARGE.search(codes) and not _PLAIN_EXCESS.search(codes)) or _VERY_EXCESSIVE.search(codes):
            self.size = 1

    def _settle_conflicts(self) -> None:
        """Of opposite wishes the last counts."""
        places = [place for place, mention in enumerate(self.mentions) if mention.polarity]
        if len(places) < 2:
            return
        last = self.mentions[places[-1]]
        opposite = {(dimension, -direction * last.polarity) for dimension, direction in last.ways}
        for place in places[:-1]:
            mention = self.mentions[place]
            asked = {(dimension, direction * mention.polarity) for dimension, direction in mention.ways}
            is_just_told = TOLD in (mention.mood, last.mood) and mention.mood != last.mood
            is_just_told &= (mention if mention.mood == TOLD else last).polarity > 0
            if mention.dimension == last.dimension and asked & opposite and not is_just_told:
                self.mentions[place] = mention._replace(polarity=0)
                self.doubt = _CONFLICTING

    def _place(self, mention: Mention) -> None:
        if mention.polarity == 0:
            return
        ways = [way for way in mention.ways if way[0] == mention.dimension]
        ways = ways or [way for way in mention.ways if way[0] == self.dimension] or list(mention.ways)
        is_judged = mention.is_judged or mention.is_negated or self.valence > 0
        kept = self.told if mention.mood == TOLD and mention.polarity > 0 and not is_judged else self.ways
        for index, direction in ways:
            kept[index] = kept.get(index, 0) + mention.polarity * direction
        is_unnamed = len({index for index, _ in ways}) > 1
        self.doubt = min(self.doubt, mention.doubt, _UNNAMED if is_unnamed else 1.0)


def _corrected(clause: Clause) -> Clause:
    """A clause without what takes the one before back: "sorry, I mean left"."""
    start = next(place for place, token in enumerate(clause.tokens) if token.role == roles.CORRECTED)
    return Clause(clause.opens, clause.tokens[start + 1 :], clause.closes)


def _is_threat(clause: Clause) -> bool:
    """Whether a clause says what a wish would lead to: "... and you'll crash"."""
    codes = codes_of(clause.tokens)
    return clause.opens == "and" and not clause.has_mention and _LEADS_TO.match(codes) is not None and judge(codes).value < 0


def _following(clauses: list[Clause]) -> str:
    """Letters of the clauses that name no direction, up to the next that does and isn't joined by "and"."""
    codes = ""
    for clause in clauses:
        if clause.opens == "or":
            break  # what else would happen
        if not clause.has_mention:
            codes += codes_of(clause.tokens)
        elif clause.opens != "and":
            break
    return codes


def _judged(mention: Mention, following: str, codes: str) -> Mention:
    """A direction as what follows its clause judges it."""
    if roles.IF in codes and roles.AGAIN in codes and mention.mood != STATE:  # "if you go left again, ..."
        return mention._replace(polarity=-abs(mention.polarity))
    if not following or not mention.polarity or (roles.CORRECTED in following and roles.BAD not in following):
        return mention
    verdict = judge(following).value
    if roles.IF in codes or roles.UNLESS in codes:
        verdict = judge(following.replace(roles.FALL, roles.BAD)).value
        return mention._replace(polarity=-mention.polarity) if verdict < 0 else mention
    if mention.mood == TOLD and mention.is_negated and verdict > 0:
        return mention._replace(polarity=-1)
    if mention.mood not in (BARE, TOLD) or mention.is_negated or _SETTLED.search(codes):
        return mention
    if roles.LACK in following:
        return mention._replace(polarity=1, is_judged=True)
    if _LESS.search(following):
        return mention._replace(polarity=-1)
    if _MORE.search(following):
        return mention._replace(mood=ASKED)
    return mention._replace(polarity=-mention.polarity) if verdict < 0 else mention
