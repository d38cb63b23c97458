"""English words that may name a direction: where they mean something else, and what else means the same."""

from __future__ import annotations

import re

OTHER = " othersense "
_SUBJECT = r"(?:i|he|she|we|they|who|you|people|have|has|had|having|'ve|\w+'s|always|already|never|just|suddenly)"
_POSSESSED = (
    r"(?:the|my|his|her|your|our|their|its|me|him|us|them|it|a|an|off|early|behind|home|alone|without|work|town|"
    r"school|for)"
)
_TIMES = (
    r"(?:time|times|tries|minutes?|seconds?|hours?|days?|weeks?|chances?|attempts?|lives|life|points?|energy|"
    r"battery|fuel|money|space|nothing|anything|something|options?|episodes?|games?|rounds?|pizza|food|hope|"
    r"not much|is not much|someone|nobody|who's|what's|what is|people|questions?)"
)
_BODY = (
    r"(?:knee|foot|leg|hand|ear|eye|arm|shoulder|ankle|hip|brain|lung|kidney|handed|hander|field|overs|wrist|"
    r"elbow|thumb|bank|luggage)"
)
_LOOSE = r"(?:to say|to do|to go|on the clock|in the|on the|undone|unsaid|to lose|alone|out)"
_UP_VERBS = (
    r"(?:give|giving|gave|given|mess|messed|messing|screw|screwed|heads|cheer|wake|woke|shut|hurry|warm|look|"
    r"looking|add|adds|sum|sign|what's|what is|time's|time is|time was|game is|you're|who's|who is|thumbs|get|got|"
    r"getting|stand|stood|sit|sitting|grow|grew|growing|make|making|made|set|setting|end|ended|catch|caught|back|"
    r"backed|clean|cleaned|dress|break|broke|broken|call|called|show|showed|listen|speak|buckle|saddle|hang|use|"
    r"used|eat|ate|crop|cropped|crops|drink|blow|blew|fed|fired|beat|beaten|tied|team|man|toughen|buck|brush|read|run|ran|"
    r"pull yourself|straighten|follow|bottom|pop|line|lined|boot|power|pump|sober|write|wrote|level|step it|wise|"
    r"act|acting|crack|mix|mixed|split|light|lit|pay|hook|fess|own|cook|cover|dig|fix|freshen|lock|tidy|size|stir|"
    r"stock|suck|sweep|tune|tuned|type|wrap|zip|chat|finish|freeze|pile|soak|stack|speed|speeding|sped|went and|"
    r"wash|yield)"
)
_DOWN_VERBS = (
    r"(?:calm|slow|settle|sit|sat|lie|lay|break|broke|breaking|let me|let us|let him|let her|lets? \w+|write|"
    r"wrote|note|jot|boil|boils|feel|feeling|hands|shut|cool|quiet|quieten|simmer|stand|back|burn|burnt|burned|"
    r"die|close|tone|track|hunt|crack|run|running|ran|walk|walked|kneel|fall|fell|fallen|falling|look|looking|"
    r"knock|knocked|melt|shot|water|watered|wear|wind|calming|slowing|play|scale|strip|strike|talk|trickle|tie|"
    r"tied|vote|dumb|upside|deep|hand|handed|bog|bogged|count|double|dress|dressed|narrow|mark|nail|pin|pipe|"
    r"track|tear|touch|weigh|whittle|bear|hose|plug|ratchet)"
)
OTHER_SENSES = {
    "left": (
        r"\b(?<!go )(?<!going )(?<!push )(?<!move )left (?=without\b|early\b|undone|untouched|unsaid|standing|"
        r"it running)",
        rf"\b{_SUBJECT} left (?={_POSSESSED}\b)",
        rf"\b{_TIMES} (?:(?:is|are|was|were) )?left\b(?! (?:of|side|hand side|turn|push|move))",
        rf"\bleft (?={_BODY}\b|{_LOOSE}\b(?! (?:left|right|side|other)))",
        r"\b(?:i|he|she|we|they|who|uncle|aunt|everyone|everybody) (?:always |just |have |had |never |already |"
        r"suddenly |then |also |recently |finally |once )?left\b(?!(?: too| a bit| so| more)? (?:much|hard|far|little|"
        r"softly|enough))",
        r"\bnothing left\b",
        r"\b(?:tries|lives|minutes|seconds|hours|days|weeks|chances|points|attempts|rounds) left\b",
        r"\b(?:be|been|get|got|gets|were|was|is|feel|feels) left (?=out|behind|alone|over|in|with|speechless)",
        r"\bleft (?:me|us|him|them) \w+",
        r"\b(?:any|some|no) (?!more|much|further|far|less|reason|need|point|push|move|moves|pushes|go|going|swing|to|"
        r"on|of|the)\w+ left\b",
        r"\bon the left in\b|\b(?:drive|drives|drove|write|wrote|sit|sat|park|parked|live|lives) (?:\w+ )?(?:on|with|"
        r"to) (?:the |my |his |her )?left\b",
        r"\bthe (?:last|only|first) \w+ left\b",
        r"\b(?:what|who|all|anyone|anybody|nobody|everyone)(?: that)?(?:'s| is| was|) left\b(?=\W*$| is| to| of| in)|"
        r"\bis (?:any\w*|no|nobody|none) left\b",
    ),
    "right": (
        r"\bright (?=with (?:you|me|him|her|them|us)\b|and proper|and wrong|or wrong)|\bright from\b",
        r"\b(?:make|makes|made|do|does) (?:a|it|things) right\b(?! (?:turn|push))",
        r"\b(?:i'm|am|is|are|was|were|be|it's|that's|stay|sit|sits|stand|wait|stop|happened|you're|from|up|over|look|"
        r"put|him|her|me|us|them) right (?=here|there)|"
        r"(?<!of )(?<!the )(?<!go )(?<!push )(?<!move )(?<!turn )\bright (?=now|away|this (?:minute|second|instant|"
        r"moment|very)|back|behind|after|before|in front|in the middle|at the|next to|beside|above|below|on time|"
        r"on top|angle|angles|from the start|beneath|through|outside|inside|under)",
        r"\b(?:no|any|every|the|a|your|my|their|have|has|had|with) right to (?!the\b|left\b)(?!be better|go\b)",
        r"\b(?:my|his|her|their) right$|\b(?:human|civil|legal|equal|animal|voting|all|god|birth) rights?\b",
        r"\bserves? (?:\w+ )right\b|\b(?:yeah|oh|mr|miss|mrs) right\b|\bmy right (?:hand|knee|foot|leg|eye|ear|arm)\b|"
        r"\brights\b",
        rf"\bright (?={_BODY}\b)|\bcopyright\b|\bright (?:of way|wing|winger)\b|\bthat's alright\b|\balright\b|"
        r"\ball right\b(?=\W|$)",
    ),
    "up": (
        rf"\b{_UP_VERBS} (?:\w+ )?up\b(?! (?:the|your|that|with|a|more|and))",
        r"\b(?:mess|messed|give|gave|screw|screwed|wake|cheer|sign|look|make|set|beat|blow|blew|tidy|clean|break|"
        r"split|warm|heads|hurry|hang|dress|end|ended|add|adds|grow|shut|get|got|stand|eat|drink|bring|brought|pick|"
        r"picked|call|called) (?:\w+ )?up\b(?! with the arm)",
        r"\b(?:what|time|game|contract|number)(?:'s| is| was) up\b|\bup to (?:you|me|us|him|her|them|date|now|"
        r"something|speed|no good|the task|it)\b",
        r"\bup (?:for|next|until|till|all night|front|late|early|close|and running|against)\b|\bups and downs\b|"
        r"\bup on (?:the|a)\b",
        r"\bup to(?=\W*$)|\bkeep(?:s|ing)? (?:it )?up (?:the|with)\b|\bthings are \w+ up\b|\bkeep up\b|\bshow(?:s|"
        r"ed)? up\b",
    ),
    "down": (
        rf"\b{_DOWN_VERBS} (?:\w+ )?down\b(?! (?:a bit|more|again|there|here|further|with the arm|some|slowly|"
        r", please))(?! \d)",
        r"\b(?:slow|calm|settle|sit|cool|quiet|simmer|break|write|boil|let|note|lie) (?:it |that |this |me |us |"
        r"things )?down\b",
        r"\bdown (?:on|in|at|to) (?:the|my|me|his|her|a) (?!arm)\w+|\bdown (?:under|town|time|payment|stairs|side|"
        r"load|the (?:road|street|hill|stairs|line|clock))\b",
        r"\b(?:hands|upside|ups and|a bit|feeling|so|bit|really) down\b(?=\W*$)",
        r"\b(?:system|server|servers|site|website|network|power|internet|market|markets|stocks|prices)\b[^.!?]* down\b",
    ),
    "close": (
        r"\b(?:so|too|very|was|is|are|it's|that's|you're|were|pretty|quite|really|a|getting|get|come|came|comes|how|"
        r"as|keep a|being|rather|stay|how|got|i'm|we're|this|(?:'s|is|was) not|near|fairly|super|childhood|still|sit|"
        r"sat|stand|stood|live|lives|lived) close\b(?!d)(?! the\b)(?! (?:your|that) (?:hand|grip|claw|jaw|finger|"
        r"fist))",
        r"\bclose (?=to\b|by\b|enough\b|call\b|eye\b|race\b|friend|friends\b|relative|relation|range\b|shave\b|one\b|"
        r"match\b|game\b|contact\b|up\b$|family|look|quarters|second|at hand|together|behind|together)",
        r"\b(?:case|chapter|deal) closed\b|\b(?:closer|closest|closely|closet|closure)\b",
        r"\bclose (?:the |this |our |your |that )?(?:discussion|deal|case|meeting|chapter|account|topic|window|door|"
        r"shop|store|book|tab|file|gap|loop|curtains|eyes|app|road)\b",
        r"\b(?:shop|shops|store|stores|museum|bank|office|school|bar|pub|market|restaurant|cafe|library|deal|account|"
        r"stock|exchange|snow)\b[^.!?]* close[sd]?\b",
    ),
    "open": (
        r"\bopen and shut\b|\b(?:an|the|in the|i'm|i am|am|are you|keep an|we're|he's|she's|so|wide) open (?=to\b|"
        r"question|secret|mind|book|air|end|ended|ocean|sea|space|field|door|source|letter|house|day|mic|bar|issue|"
        r"invitation|about|and shut)",
        r"\bin the open\b|\bopen(?:s|ed|ing)? (?:a|an|the|my|his|her|your|our) (?:new )?(?:bakery|shop|store|door|"
        r"window|box|book|bottle|letter|account|file|restaurant|beer|present|gift|app|tab|cafe|bar|mail|page|can|jar|"
        r"drawer|curtain|curtains|business|office|school|eyes|discussion|meeting)\b",
        r"\b(?:is|are|was|were) the (?:window|door|shop|store|bank|museum|bar|office|library|gate|road|pub|pool|"
        r"restaurant)s? (?:still )?open\b",
        r"\b(?:museum|shop|shops|store|bank|office|school|bar|pub|market|restaurant|cafe|library|window|door|pool|"
        r"gate|road)s?\b[^.!?]* open(?:s|ed)?\b",
        r"\bopen (?:question|secret|mind|minded|book|air|ended|ocean|sea|source|letter|house|mic|to (?:suggestions|"
        r"ideas|debate|discussion|question|interpretation|the public))\b",
    ),
    "back": (
        r"\b(?:be|come|came|coming|call|called|get|got|welcome|i'll be|look|looking|give|gave|talk|write|wrote|pay|"
        r"paid|feed|hold|holding|held|laid|cut|fall) back\b(?! with)(?! (?:a bit|more|further))",
        r"\bback (?:door|yard|pain|home|then|in the day|and forth|off|up|at|to (?:work|school|you|me|normal|square|"
        r"basics))\b|\b(?:my|his|her) back\b",
    ),
    "forward": (r"\b(?:look|looking|looked) forward to\b|\bforward (?:the|this|that|my) (?:mail|email|message|letter)\b",),
    "on": (
        r"\bon (?=the\b|a\b|my\b|your\b|it\b|that\b|this\b|and on\b|time\b|top\b|earth\b|me\b|purpose\b|course\b|"
        r"track\b|point\b|board\b|average\b|monday|tuesday|wednesday|thursday|friday|saturday|sunday)|\b(?:come|carry|"
        r"hang|hold|later|early|go|bang|spot|right|move|based|so|depend|depends|rely|work|working) on\b(?! (?:here|"
        r"there|instead|in a|like|please|next))",
    ),
    "off": (
        r"\b(?:back|ease|way|far|take|took|well|better|worse|day|days|week|lay|kick|show|pay|pays|paid|tick|ticked|"
        r"pissed|doze|nod|far) off\b|\boff (?:course|topic|the|your|my|by|to)\b",
    ),
    "in": (r"\bin (?!more\b|further\b|again\b|please\b|a bit\b|now\b)\w+",),
    "out": (
        r"\b(?:find|found|figure|work|worked|watch|look|turns?|turned|carry|check|run|ran|time|point|cut|sort|hang|"
        r"help|speak|out of|stand|eat|went|sold|fall|fell|all) out\b|\bout of\b",
    ),
    "over": (
        r"\bover (?:the|a|there|here|and over|to)\b|\b(?:fall|fell|fallen|falls|tip|tips|game|it's|is|all|think|start|"
        r"take) over\b",
    ),
    "high": (r"\bhigh (?:five|school|time|score|street|hopes|quality|spirits)\b",),
    "low": (r"\blow (?:battery|on|quality|key)\b",),
    "lower": (r"\bprices? (?:\w+ )?(?:is |are |was |were )?lower\b|\blower (?:back|price|prices|case|house|class|level)\b",),
    "raise": (
        r"\b(?:a|got|get|pay|my|the) raise\b|\brais\w+ (?:a|the) (?:child|children|kids?|money|question|concern|"
        r"awareness|issue|point|funds)\b",
    ),
    "drop": (r"\bdrop(?:s|ped)? (?:by|in|out|off|me|him|her|a line|the (?:ball|subject|case|idea))\b|\ba drop\b",),
    "lift": (r"\b(?:a|the|an) lift\b(?! of)",),
}
"""Where a word is no direction, as patterns of the text around it."""
SAME_SENSES = {
    "up": (
        "ascended ascending climb climbed climbing skyward skywards heavenward heavenwards raise raised raises "
        "raising lift lifted lifts lifting hoist hoisted hoisting elevate elevated elevating "
        "higher upward upwards heighten heightened ascend rise high uplift upwardly upper ↑"
    ),
    "down": (
        "descended floorward floorwards groundward groundwards earthward earthwards dip dipped dipping dropped "
        "lower lowered lowers lowering downward downwards descend descending low sink lowermost drop ↓"
    ),
    "more": ("increase increased increasing raise raised raising boost boosted crank bump add added adding up higher"),
    "less": ("decrease decreased decreasing reduce reduced reducing lower lowered lowering cut drop lessen dial down fewer"),
    "higher": (
        "raise raised raising lift lifted increase increased increasing boost boosted crank bump add added adding "
        "rise high up upward"
    ),
    "lower": (
        "lowered lowering reduce reduced reducing decrease decreased decreasing cut drop dropped dim lessen dial low "
        "down downward"
    ),
    "open": (
        "opened opens opening opener unclench unclenched unclenching release released releases releasing let-go let-it-go "
        "loosen loosened loosening spread spreading unclamp unclamped apart wider wide unlock unfold opended uncurl "
        "unhand ungrip untighten let-loose turn-loose turned-loose unclasp unclasped unclasping loosed"
    ),
    "close": (
        "closed closes closing shut shuts shutting squeeze squeezed squeezing clamp clamped clamping grip gripped "
        "grab grabbed grabbing grasp grasped grasping clench clenched clenching pinch pinched pinching tighten "
        "tightened tightening tighter tight clutch narrower clasp clasped clasping nab nabbed snatch seize seized"
    ),
    "left": ("leftward leftwards leftmost lefty leftways lefthand left-hand sinistral ←"),
    "right": ("rightward rightwards rightmost righty rightways righthand right-hand rite →"),
    "forward": ("forwards fwd ahead onward onwards foward"),
    "back": ("backward backwards rearward rearwards aft"),
    "backward": ("backwards back rearward"),
    "in": ("inward inwards"),
    "out": ("outward outwards"),
    "faster": ("accelerate accelerated accelerating quicker"),
    "slower": ("decelerate decelerated decelerating brake"),
    "louder": ("loud"),
    "quieter": ("quiet soft"),
    "warmer": ("warm hot hotter"),
    "colder": ("cold cooler cool"),
    "brighter": ("bright brighten"),
    "darker": ("dark dim darken"),
    "clockwise": ("cw"),
    "counterclockwise": ("ccw anticlockwise"),
    "accelerate": ("accelerated accelerating accelerates"),
    "brake": ("braked braking brakes"),
}
"""What else people call a direction of that name."""
PARTICLES = frozenset(
    ("up", "down", "in", "out", "on", "off", "over", "back", "under", "away", "forward", "close", "open", "high", "low")
)
"""Short words that need a sign that a move is meant."""

AMBIGUOUS = frozenset(OTHER_SENSES)
"""Words that have other senses."""
_IS = (
    r"(?:was|is|that's|thats|it's|its|were|just|exactly|quite|all|absolutely|totally|dead|got|gets|seems|looks|looked|felt|"
    r"(?:is|was|are|were|'s) not|are|you're|i'm|he's|she's|being|doing it|get it|that one|turned out)"
)
_CHOICES = (
    r"(?:way|idea|thing|call|choice|move|direction|decision|one|amount|answer|instinct|track|action|reaction|response|"
    r"thinking|stuff|step|approach|balance|option|size|you are|about|"
    r"to (?:push|go|move|turn|raise|lower|open|close|lift|do|turn))"
)
CORRECT_SENSE = re.compile(
    rf"\b{_IS} right\b(?! enough| of\b| side\b|-)(?! (?:turn|push|move|the better|the best|better|the way)\b)"
    rf"|\bright (?={_CHOICES}\b(?! (?:is|was|would) (?:better|superior)))"
)
"""Where "right" is praise, and no side."""
NOT_CORRECT = re.compile(r"\b(?:it is|it's) right\b(?=,? not)|\b(?:left|no),? (?:it's|it is) right$")


PRAISE = re.compile(r"^\W*(?:keep it up|keep on going|keep going|right on|carry on)\W*$")
"""Praise, though its words may name directions."""


def sense_patterns(words: set[str]) -> dict[str, re.Pattern[str]]:
    """
    :param words: Names of directions
    :return: For each that has other senses a pattern of these
    """
    return {word: re.compile("|".join(OTHER_SENSES[word])) for word in words if OTHER_SENSES.get(word)}
