"""Bring what people type to one form: signs, scripts, apostrophes and stretched letters."""

from __future__ import annotations

import re
import unicodedata

_APOSTROPHES = dict.fromkeys(map(ord, "`\u00b4\u2018\u2019\u201b\u02bc\u02b9\u02bb\u2032\u2035\uff07\u02c8\u055a\ua78c"), "'")
_ARROWS = {
    **dict.fromkeys(map(ord, "\u2190\u2b05\u21d0\u27f5\U0001f448\U0001f87a\u25c0\u21e6"), " \u2190 "),
    **dict.fromkeys(map(ord, "\u2192\u27a1\u21d2\u27f6\U0001f449\U0001f87c\u25b6\u21e8"), " \u2192 "),
    **dict.fromkeys(map(ord, "\u2191\u2b06\u21d1\U0001f446\u261d\u25b2\u21e7\U0001f53c"), " \u2191 "),
    **dict.fromkeys(map(ord, "\u2193\u2b07\u21d3\U0001f447\u25bc\u21e9\U0001f53d"), " \u2193 "),
}
_SIGNS = {
    **dict.fromkeys(map(ord, "\U0001f44d\u2705\u2714\U0001f44f\U0001f4af\U0001f389\U0001f44c"), " bravo "),
    **dict.fromkeys(map(ord, "\U0001f44e\u274c\u2716\U0001f6ab"), " nope "),
    **dict.fromkeys(map(ord, "\u2013\u2014\u2015\u2012"), " - "),
    ord("\u2026"): "...",
}
ARROWS = "\u2190\u2192\u2191\u2193"
_STRAY = frozenset(("So", "Sk", "Co", "Cn"))
_MARK = re.compile("[\u0300-\u036f\ufe00-\ufe0f\u20e3]")
_HOMOGLYPHS = str.maketrans("авсеіјкморѕтухһԁӏαεικνορτυχ", "abceijkmopstyxhdlaeikvoptux")
_MIXED = re.compile(r"\b(?=\w*[a-z])(?=\w*[\u0370-\u04ff])\w+")
_EMOTICONS = re.compile(r"(?<![a-z0-9])(?:[:;=8x][-'^o]?[)(\]\[dp/\\|*3]+|[)(]+[:;=]|<+/?3+|\\o/|\^_*\^|o_o|xd+)(?![a-z0-9])")
_STRETCHED = re.compile(r"([a-z])\1{2,}")
_QUOTED = re.compile(r"(?<![a-z0-9])'+|'+(?![a-z0-9])")
_NOT = re.compile(
    r"\b(do|does|did|is|was|are|were|has|had|have|should|would|could|ca|can|wo|must|need|might|ought|sha|ai|d)"
    r"(?: ?n'?t| n t|'nt)\b('ve)?"
)
_ASKED = re.compile(
    r"(?:^|(?<=[.,;:!?] ))(is|was|does|did|would|should|could) not "
    r"(it\b|that\b|this\b|\w+(?= (?:the|a|better|my|what) .*\?))(?= \w)"
)
_VERBS = {"ca": "can", "wo": "will", "sha": "shall", "ai": "is", "d": "do"}
_SPACED = re.compile(r"\b(?:[a-z] ){2,}[a-z]\b")
_PLAIN = re.compile(r"[a-z0-9 .,!?]*")


def normalise(text: str) -> str:
    """
    >>> normalise("DON\N{ACUTE ACCENT}T go \N{FULLWIDTH LATIN SMALL LETTER L}eft")
    'do not go left'

    :param text: As it was typed
    :return: In lower case, with plain letters, signs and apostrophes
    """
    text = text.lower().replace("`", "'")
    if not text.isascii():
        text = _without_marks(text)
    if _PLAIN.fullmatch(text) is None:
        text = _EMOTICONS.sub(" ", text)
        if "'" in text:
            text = _QUOTED.sub(" ", text)
    text = _SPACED.sub(lambda match: match.group().replace(" ", ""), text)
    if "n" in text:
        text = _ASKED.sub(r"\1 \2", _NOT.sub(_spelt_out, text))
    return _STRETCHED.sub(r"\1\1", text)


def _without_marks(text: str) -> str:
    text = text.translate(_APOSTROPHES)  # before NFKC, which makes a space and a mark of some
    text = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text)).translate(_APOSTROPHES)
    kept = (letter for letter in text if not _MARK.match(letter) and unicodedata.category(letter) != "Cf")
    text = unicodedata.normalize("NFC", "".join(kept)).lower().translate(_ARROWS).translate(_SIGNS)
    text = "".join(
        " " if letter > "\x7f" and unicodedata.category(letter) in _STRAY and letter not in ARROWS else letter
        for letter in text
    )
    return _MIXED.sub(lambda match: match.group().translate(_HOMOGLYPHS), text)


def _spelt_out(match: re.Match[str]) -> str:
    verb = match.group(1)
    return f"{_VERBS.get(verb, verb)} not{' have' if match.group(2) else ''}"
