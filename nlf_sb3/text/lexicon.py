"""The words that the reader knows, by the part that they play in a clause."""

from __future__ import annotations

MENTION, NAMED, NUMBER, UNKNOWN = "M", "J", "#", "u"
"""A direction; the name of a dimension; a number; an unknown word."""
NOT, SHUN, SHUNNED = "n", "a", "b"
"""A negation; a verb that does as much ("avoid"); and its past ("failed")."""
ASK, DID, MOVE, MOVING = "h", "d", "v", "g"
"""What asks for something; what was done; a verb or noun of motion; its gerund."""
GOOD, BAD = "p", "q"
EXCESS, LACK, ENOUGH, MORE, LESS = "x", "l", "e", "m", "k"
STRONG, WEAK, GENTLE, HARDER = "j", "w", "y", "r"
"""Adjectives of much ("far") and of little ("soft"); how to go a way: with less force, or with more."""
SMALL, LARGE = "z", "Z"
YOU, ME, THEM, THING, BE, FALL = "Y", "I", "O", "s", "B", "S"
"""Who or what a clause is about; "is"; what things of the world do by themselves."""
WHY, IF, UNLESS, CORRECTED, SAY, AGAIN, TURN = "W", "F", "U", "C", "H", "K", "T"
HAVE, THAN, RATHER_THAN, OVER, TO, THAT, AND, PLACE, FAIR, OTHER_SENSE = "1", "t", "R", "V", "2", "3", "A", "L", "f", "o"

ROLES = {
    NOT: ("not never cannot dont neither nor nobody none no donot didn wasn isn shouldn wouldn doesn"),
    SHUN: (
        "avoid avoiding stop stopping quit quitting skip skipping refrain refraining resist resisting cease ceasing "
        "forget forgetting hesitate hesitating fail failing neglect neglecting refuse refusing afraid scared shy fear "
        "fearing omit omitting worry worrying ignore ignoring reluctant dread shun spare halt miss missing overlook "
        "beware unlearn scold blame punish object objected against wait delay postpone"
    ),
    SHUNNED: (
        "avoided skipped failed forgot neglected refused ignored missed omitted forgotten overlooked declined hesitated "
        "resisted stopped refrained"
    ),
    ASK: (
        "should ought supposed meant must need needs want wants wanted wish please pls plz lets let's would could can may "
        "might prefer preferred rather recommend suggest suggested vote asked request requested expected expecting expect "
        "hoped hope hoping waiting awaiting i'd we'd you'd it'd should've would've could've might've shouldve wouldve "
        "couldve shud wud cud kindly intended shall will i'll we'll gotta wanna gonna needed grateful appreciate "
        "imperative vital essential necessary required plan planned advise advised advice aim tell opt order ordered "
        "demand favour favor crave due shoulda woulda coulda oughta must've aiming supposedly favours favors preferably "
        "instruct insist preference"
    ),
    DID: (
        "went gone did pushed moved chose chosen picked drove driven shoved sent took taken turned swung leaned leant "
        "steered shifted headed brought tilted opted veered lurched threw thrown nudged kicked slid pulled swerved "
        "dragged jerked used gave given applied made done kept pressed yanked decided selected tried jumped skidded "
        "rolled travelled traveled ran slipped strayed came rushed backed accidentally tugged flung had've got edged "
        "inched slammed thrust started placed led wandered pushd"
    ),
    MOVE: (
        "go try tries consider let move push shove nudge swing steer shift turn lean tilt head drive pull kick slide drag "
        "jerk send give bring take put set make press swerve veer force apply point tug roll step use pushes moves nudges "
        "shoves movement motion goes takes turns lurch kicks swings swerves steps travel jump get come switch crank pass "
        "slip choose pick select guide direct angle run bend rotate reach lead dose impulse action actions option call "
        "choice decision stroke correction burst detour jolt tap yank drift inch shuffle slam work"
    ),
    MOVING: (
        "going moving pushing shoving nudging swinging steering shifting turning heading driving pulling kicking sliding "
        "dragging jerking sending giving bringing taking putting setting making pressing swerving veering applying using "
        "choosing picking doing travelling traveling rushing drifting edging tugging throwing throw having getting coming "
        "shuffling"
    ),
    GOOD: (
        "good great nice nicely excellent perfect perfectly correct correctly exactly yes yep yeah yup brilliant lovely "
        "fantastic super agree agreed happy pleased glad bravo fine best ideal sensible wise smart clever sound ta thanks "
        "thank cheers liked love loved helped helps works worked working proper properly approve terrific splendid "
        "wonderful superb awesome beautiful beautifully neat neatly solid ace bingo precisely commendable ok okay "
        "textbook winner impressed impressive useful success successful successfully keeper deft improvement better saved "
        "saves save prudent beats preferable superior smooth attaboy flawless marvellous marvelous magnificent "
        "outstanding amazing incredible genius cool sweet delightful delighted stellar elegant elegantly graceful "
        "masterful champion admirable pleasing satisfied satisfying satisfactory hooray hurray woohoo yay kudos "
        "congratulations congrats respect natural effective advantage beneficial favourable rewarding fabulous gold "
        "golden phenomenal remarkable splendidly suits suited justified gem enjoyed admire appreciated rescued helpful "
        "accurate spotless bullseye unbeatable acceptable pro safe safer wiser smarter nicer worthwhile worth okey "
        "encouraging prettiest yess gg ggwp pog"
    ),
    BAD: (
        "bad badly wrong wrongly mistake mistaken error poor poorly terrible awful horrible nope nah unhappy worse worst "
        "mess silly unwise foolish incorrect incorrectly failure unfortunately ouch oops disaster disappointing "
        "disappointed disappoint misjudged misguided blunder unnecessary uncalled pointless harmful hurt hurts sorry "
        "dreadful rubbish daft dislike disagree disliked hated hate unhelpful inappropriate backfired unacceptable "
        "miscalculated sloppy careless ugh hmm shame pity problem trouble troubling unwelcome rotten lousy dumb stupid "
        "idiotic ruined ruins ruin wrecked crash crashed crashes crashing catastrophe catastrophic risky dangerous danger "
        "killed kills kill broke broken breaks break lose lost loses losing dropped sadly poorer inferior fatal fatally "
        "ridiculous nonsense lame hopeless horrid nasty useless pathetic tragic tragedy dire fiasco tired sick annoying "
        "annoyed angry upset frustrating frustrated regrettable regret regrets regretted regrettably unsafe reckless "
        "clumsy clumsily embarrassing senseless unfortunate worsened damaged damage destroyed collapsed toppled fell "
        "smashed hit bumped cost costly doomed flawed faulty criticise criticize complain complaint objection objections "
        "complaints fault harm downside drawback disastrous inexcusable boo yikes eek wtf crap garbage trash sucks sucked "
        "stinks atrocious abysmal appalling unsatisfactory dissatisfied displeased cringe facepalm mistakes errors "
        "shocking concern counterproductive detrimental suboptimal messed blew botched crushed spilled spilt "
        "goofed tipped fall "
        "forbidden illegal crime sin poorest dumbest stupidly wrongdoing wasted waste tsk meh bogus"
    ),
    EXCESS: (
        "too overly aggressive aggressively rough violent violently abrupt abruptly wild wildly hasty hastily extreme "
        "harsh harshly brutal brutally excessive excessively overdid overdone overdoing overdo overshot overshooting "
        "overshoot overkill overcooked overcorrected overreacted overreached overstepped exaggerated exaggerating "
        "exaggerate exaggeration overboard overpowered overturned oversteered overextended overstretched overrotated "
        "overreaching overpushed overshoots overused overturning disproportionate immoderate overzealous tooo"
    ),
    LACK: (
        "insufficient insufficiently barely hardly scarcely inadequate inadequately undershot undershooting undershoot "
        "underdone underpowered lacking lacks lacked underdid undercooked undersized"
    ),
    ENOUGH: ("enough sufficient sufficiently"),
    MORE: ("more further farther additional extra increase oomph another deeper"),
    LESS: ("less fewer weaker smaller shorter half halve reduce decrease lessen third quarter"),
    HARDER: (
        "harder stronger firmer bolder strongly firmly faster quicker bigger greater forcefully decisively vigorously "
        "fiercer mightier longer powerfully boldly heftier larger tougher swifter"
    ),
    GENTLE: (
        "softer gentler lighter slower calmer milder ease easing easier gently softly lightly carefully slowly smoother "
        "smoothly cautiously delicately tenderly easy calmly"
    ),
    STRONG: (
        "hard strong much far fast big high forceful many quick quickly long heavy heavily sharp sharply intense wide "
        "vigorous powerful late early tight tightly steep rapid rapidly deep brisk soon large sudden suddenly often"
    ),
    WEAK: (
        "little weak weakly soft gentle timid slow light small cautious tentative hesitant feeble short faint faintly "
        "modest modestly timidly shallow loose loosely careful puny limp narrow lazy mild meek sluggish sluggishly "
        "tentatively few"
    ),
    SMALL: (
        "bit abit slightly touch tad smidge smidgen notch notches hair fraction slight tiny shade wee smidgeon whisker "
        "marginally fractionally somewhat trifle pinch hint dash"
    ),
    LARGE: (
        "lot lots way massively loads significantly considerably hugely ton heaps miles tons substantially greatly twice "
        "double triple plenty enormously drastically tonne dramatically"
    ),
    YOU: ("you u you're you've you'll youre youve ya yourself y'all your ur"),
    ME: ("i we us me my i'm i've we're we've im ive myself our"),
    THEM: ("he she they who his her him them their uncle everybody everyone people someone"),
    THING: (
        "cart pole ball goal target track rail wall cup table box shelf floor plate lamp object world robot pendulum end "
        "car platform obstacle pillar corner border boundary screen ground ceiling door window room block peg cube bottle "
        "glass hole gap things everything space mass centre center weight velocity tower stick tip top bottom"
    ),
    BE: (
        "is was there's here's were are be been being am it's its that's thats he's she's seems seemed looks looked stays "
        "sits sat lies lay stands stood remains felt feels appears hangs becomes became lying sitting standing hugging "
        "what's whats"
    ),
    HAVE: ("has had have"),
    FALL: (
        "falling leaning tipping tilting swaying hanging falls leans tips tilts sways dropping drops wobbling wobbles "
        "toppling topples sinking rolls rolling slipping slips hovering rising rises floating floats resting rests "
        "bending pointing points facing faces located sagging collapsing trembling shaking oscillating oscillates "
        "positioned parked stuck balanced balancing tumbling tumbles keels lurching approaching listing slanted slanting"
    ),
    WHY: ("why why'd whyever why's wherefore"),
    IF: ("if suppose supposing imagine whenever assuming when once"),
    UNLESS: ("unless without lest w/o"),
    CORRECTED: ("scratch-that actually er erm"),
    SAY: (
        "say says said saying tells told telling yell yells yelling yelled shout shouts shouting scream screams screaming "
        "thinks think reckon reckons believe believes guess feeling find suggests insists claims claim swear promise bet "
        "mean means knows rumour heard convinced sure argues whispered whisper announce mention mentioned states"
    ),
    AGAIN: ("keep keeps keeping continue stay carry maintain same again hold repeat continuing staying remain maintaining"),
    TURN: (
        "opposite reverse reversed contrary undo revert invert inverse flip swap switcheroo mirrored mirror backtrack "
        "contrariwise u-turn about-face wrong-way retrace cancel uturn backwards backward reversal inverted opposed "
        "rewind converse conversely flipped swapped"
    ),
    THAN: ("than"),
    RATHER_THAN: ("instead-of"),
    OVER: ("over above versus vs"),
    TO: ("to"),
    THAT: ("that which this"),
    AND: ("and or & plus"),
    PLACE: ("side edge hand knee bank lane foot eye ear arm's leg's post limit shoulder wing margin pocket shoe"),
    FAIR: (
        "a an the it of in on at by with so as these those here there do does for from off under into onto until after "
        "since way's ones one out what where now just really very quite pretty even only still also yet next time times "
        "thing around about through toward towards like kind sort look see looking thought know some any all every each "
        "most both such direction ways mate buddy friend dear oh ah well hey maybe perhaps probably definitely certainly "
        "surely simply always ever already instead straight back forth near close first second last two three part whole "
        "honestly honest frankly sir madam man dude pal bro guys team folks then therefore thus because although though "
        "however meanwhile anyway anyhow besides today whatever somehow how while whereas but moment situation state "
        "position place case line course path balance power energy intensity level amount value effort strength speed "
        "pace magnitude true that'll that'd it'll goo gimme sum lemme teh agian thx happened happen happens attempt "
        "attempts anything something sometime gets heaven's sake god goodness gosh wow ha haha lol btw fyi um uh uhm hm "
        "hmmm huh eh absolutely positively totally completely entirely utterly truly obviously clearly apparently "
        "basically literally seriously ultimately somewhere everywhere anymore percent cm mm metres meters metre meter "
        "inches degrees degree units unit newtons newton km feet x hundred ten five four six seven eight nine zero "
        "directions nearly almost roughly approx approximately start begin finally immediately asap nothing nowhere own "
        "upcoming following future past minute minutes tomorrow yesterday upright stable steady cute rest time's per"
    ),
}
"""The words of each part."""


def role_of_words() -> dict[str, str]:
    """The part that each word plays; the first of the table counts."""
    roles: dict[str, str] = {}
    for role, several in ROLES.items():
        for word in several.split():
            roles.setdefault(word, role)
    return roles
