"""The words that the rules know: what denies, praises, blames, makes stronger or weaker, and what is just grammar."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NEGATORS = _words(
    "not dont don't doesnt doesn't didnt didn't shouldnt shouldn't wouldnt wouldn't cant can't cannot couldn't wasnt wasn't "
    "isnt isn't never avoid stop quit without nor neither needn't neednt mustn't mustnt nt resist refrain hardly cease "
    "weren't werent hasn't haven't hadn't won't wont stopped quitting stopping avoiding skip"
)
"""What turns the rest of a clause around."""
PRAISE = _words(
    "good great well nice nicely excellent perfect perfectly correct correctly exactly yes yep yeah yup brilliant lovely "
    "fantastic super spot agree agreed happy pleased glad bravo fine better best ideal sensible wise smart clever sound "
    "bang ta thanks thank cheers like liked love loved helped works worked working proper properly approve terrific "
    "splendid wonderful superb awesome beautiful beautifully neat neatly solid ace bingo precisely precise commendable ok "
    "okay textbook winner impressed impressive useful success successful successfully just-right keeper deft improvement"
)
BLAME = _words(
    "bad badly wrong wrongly mistake mistaken error poor poorly terrible awful horrible no nope nah unhappy worse worst mess "
    "mistaken silly unwise foolish incorrect incorrectly fail failed failure unfortunately ouch oops disaster regret "
    "disappointing disappointed disappoint misjudged misguided blunder unnecessary uncalled pointless harmful hurt sorry "
    "dreadful rubbish daft backwards-idea dislike disagree disliked hated hate unhelpful inappropriate overdone backfired "
    "unacceptable miscalculated sloppy careless ugh hmm shame pity problem troubling trouble unwelcome rotten lousy"
)
STRONGER = _words(
    "harder stronger firmer bigger faster quicker further farther more bolder greater strongly firmly extra oomph"
)
"""Comparatives that ask for more of the same."""
WEAKER = _words("softer gentler less weaker lighter smaller slower easy calmer milder ease easing easier")
"""Comparatives that ask for less of it."""
GENTLY = _words("gently softly lightly")
"""How to go a way, and less of it where no way is spoken of."""
FORCEFULLY = _words("harder stronger firmer bolder strongly firmly")
"""Of what asks for more, what says how to go a way."""
EXCESS = _words(
    "too overdid overshot overdone overdoing excessive excessively overly overshooting overcooked overkill overcorrected "
    "overreacted overreached overstepped"
)
LACKING = _words("little weak soft gentle timid slow shy light small cautious tentative hesitant feeble late short")
"""After "too": what there was too little of."""
STRONG = _words("hard strong strongly much far fast big high aggressive rough forceful many quick violent forcefully")
SIZE_SMALL = _words(
    "bit abit slightly little touch tad smidge smidgen notch hair fraction slight small tiny nudge shade wee "
    "gently softly lightly"
)
SIZE_LARGE = _words(
    "much far lot lots way strongly massively loads significantly considerably hugely ton heaps miles big tons"
)
KEEP = _words("keep continue stay carry maintain same again hold stick repeat")
"""What asks for the same again."""
OPPOSITE = _words("opposite other reverse reversed contrary wrong")
"""Before "way", "direction" and the like."""
WAYS = _words("way direction side directions round end")
PAST = _words(
    "went gone pushed moved did was were going pushing moving leaned leant swung took turned chose picked drove shoved sent "
    "put shifted headed gave brought tilted set you'd opted veered drifted extended had lurched threw"
)
"""What tells of what was done."""
ADVICE = _words(
    "supposed meant "
    "should need needs needed must try go push move shift swing steer turn please let lets let's next want wanted would could "
    "had ought better rather prefer give make bring take use head send put come ease you'd i'd id lean set nudge set aim"
)
"""What tells what to do."""
GRAMMAR = _words(
    "a an the it its it's to of in on at by with and or but so as if then than that that's thats this these those here "
    "there is be been being are am has have had having will would could can may might shall i i'm i'd i've you your you're "
    "you've we he she they them us me my our one ones when where why what which who how while for from up out off over "
    "under into onto until before after because since once i'll you'll it'll we'll there's here's would've should've "
    "could've might've although his her him their was were do does did"
)
"""What any remark is full of, whatever it speaks of."""
COMMON = _words(
    "mine thing things time times next now also still even only very really quite rather pretty actually honestly just all "
    "every each any some most both same such about around through toward towards bit action step move moves movement push "
    "pushes pushing force choice call decision direction way side position place situation moment state like kind sort "
    "point look looks looking see think thought guess feel feels felt know say said doing done get gets got getting went "
    "gone go going come coming make makes made making take took taken taking let lets try tried trying want wants wanted "
    "wish need needs needed should must ought instead please perhaps maybe probably definitely certainly surely simply "
    "always ever already yet again mate buddy friend dear okay ok oh ah well hey turn turns turning bring give put set "
    "shift swing steer lean tilt nudge shove drive pull moving value amount level end start part whole mean meant reckon "
    "believe suppose supposed expect expected hope means two three half quarter first second last left-over straight back "
    "forth much many more less little lot far near close enough harder hard soft gentle gently quick slow slowly fast "
    "quickly strong strongly best better good great right wrong too not no don't never stop avoid without balance falling "
    "fall fell stable upright pole cart goal target line course track path something anything everything nothing else way's "
    "wasn't isn't aren't weren't hasn't haven't due job work effort strength power energy intensity magnitude speed pace "
    "correction correct opposite other another though however meanwhile anyway sure true false case calls called stay keep "
    "hold remain leave stick continue carry repeat followed follow following fair fairly rate idea tip hint"
)
"""Words that people use when they speak of moves. What is in none of these lists is unknown."""
RAISE = _words("raise raised raising increase increased increasing boost lift lifted crank bump add added adding rise")
LOWER = _words("lower lowered lowering reduce reduced reducing decrease decreased decreasing cut drop dropped dim lessen dial")
"""Verbs for up and down, where a dimension has such words."""
UP_WORDS, DOWN_WORDS = _words("up higher more upward upwards"), _words("down lower less downward downwards")
BEFORE_CORRECT = _words(
    "was is wasn't isn't that's thats it's its were just exactly quite about all absolutely totally dead got seems looks"
)
AFTER_CORRECT = _words(
    "way idea thing call choice move direction decision one amount on answer instinct track action reaction response thinking "
    "stuff step approach balance option size"
)
"""Before and after "right" where it means "correct"."""
IDIOMS = {
    idiom: meaning
    for line in """
        bravo: keep it up / keep at it / spot on / bang on / so far so good / so far, so good
        bravo: way to go / what i wanted / what i had in mind / got it right
        agree: couldn't agree more
        easier: calm down / back off / ease off / ease up / lay off / hold back
        easier: go easy / take it easy / tone it down / tone down / dial it back / rein it in / let up
        slower: slow down
        faster: speed up
        stop: no more
        please: why don't you / why dont you
        needn't: no need / no reason / no point
        please: why not / nothing but
        insteadof: rather than / instead of / as opposed to / in place of
        not: anything but / far from
        much: by far
        maybe: if anything
        : at all / not only / in the way / on the way / as far as
        but: on the other hand
        now: right now / right away
        keep: go on
        never: under no circumstances
        don't: try not to
        other way: other way round / other way around / about face / u-turn
        too little: not enough / nowhere near enough
        """.strip().splitlines()
    for meaning, _, idioms in [line.strip().partition(":")]
    for idiom in map(str.strip, idioms.split(" / "))
}
"""What is read as one word, and as which: a meaning on each line, then the idioms."""
