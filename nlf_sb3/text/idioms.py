"""Sequences of words that are read as one: a meaning on each line, then the idioms."""

from __future__ import annotations

_LINES = """
please: how do you feel about / how would you feel about / have you thought about / have you thought of / thought about
please: thought of / have you considered / have you tried / why don't you / why dont you / why not / nothing but / how about
please: what about / any chance of / may i have / can i have
please: could we have / i'd like / i would like / might be worth / worth a shot / worth a try / supposed to / meant to
please: ought to / have to / has to / had to / time to / time for / i vote for / my vote goes to / go ahead and
please: good to see / be so kind as to / so kind as to / be so kind and / would you mind / do you mind / do me a favour and
please: do me a favor and / be better / better to / had better / you'd better / you had better / better go / better if
please: is the answer / is the way to go / the way to go / i want / i need / we need / it needs / needs to / need to
please: want to / it's time / you want to / could use / just wants / not only but / not only / no reason not to
please: any reason not to / is there any harm in / what's wrong with / what is wrong with / why would you not / what if
please: no reason to avoid / in need of / the idea / make sure to / be sure to / make sure you / remember to / the plan is
please: is the plan / in favour of / in favor of / on to / off to / there we go / see your way to / not impossible
please: fine with / i'd choose / i'd pick / i'd go / i'd take / why wasn't that / why wasn't it / why isn't it
please: why isn't that / would be nice / would be lovely / would be good / what stopped you from / what stopped you
please: what kept you from / what keeps you from / what prevented you from / would it trouble you to / could i trouble you to
please: may i trouble you to / might i trouble you to / can i trouble you to / can i bother you to / would it kill you to
please: would it be too much trouble to / would it be too much to ask to / would it be too much to ask for
avoid: nothing to be gained / nothing to gain / nothing to win / hold back from / holding back from / wait any longer with
avoid: wait any longer to / wait any longer before / wait any longer for / wait with / waiting with / wait to / wait before
avoid: waste time before / hang about before / think twice before / drag your feet on / drag your feet about
bravo: the ticket / did the trick / does the trick / a beauty / what i call a / did the job / does the job / a treat
bravo: a delight
bravo: just right / saved the day / nothing to complain / like what you / on a roll / no need to change
bravo: can not be improved / could not be improved / what i'm talking about / no room for improvement / can not do better
bravo: hit the nail / that's my / made it work / you did it / hard to beat / the hang of it / hang of it / knew you could
bravo: keep doing what you're doing / bull's eye / top notch / top marks / first class / big yes / a plus / ten out of ten
bravo: keep it up / keep at it / spot on / bang on / so far so good / so far, so good / way to go / what i wanted
bravo: what i had in mind / got it right / got that right / well done / well played / that's the spirit / that's the way
bravo: nailed it / nailed that / love it / you're getting it / getting it / getting there / that'll do nicely
bravo: nothing to criticise / nothing to criticize / a natural / two thumbs up / thumbs up / no objection / no objections
bravo: no complaints / can't complain / can not complain / cannot complain / no problem / no problems / never better
bravo: couldn't be better / could not be better / couldn't ask for more / same again / exactly like that / just like that
bravo: stay on course / more like that / more like this / don't change anything
bravo: don't change a thing / don't change / change nothing / don't stop now / not bad / not too bad / not too shabby
bravo: not half bad / two thumbs / high five / hats off / good job / nice work / nice job / great job / good work
bravo: this works / that works / works for me / hands down the best / on track / what i hoped for / what was needed
bravo: just the ticket / as planned / according to plan / go on like that / keep doing that / do that again / do it again
bravo: again please / once again please / couldn't have done better / couldn't have done it better / can't fault
bravo: cannot fault / couldn't fault / hit the spot / right on / you rock / you rule / hell yes / hell yeah / oh yes
bravo: oh yeah / take a bow / big improvement / made my day / a real difference / what the doctor ordered / worked a treat
bravo: fits the bill / on point / on the money / good shout / as good as it gets / it doesn't get better
bravo: can't argue with that / no notes / don't touch a thing / leave it like that / steady as she goes / stick with it
bravo: stick with that / stick to it / stay the course / so proud / proud of you / i'm a fan / all good / there you go
bravo: here we go / now we're talking / now you're talking / doing well / doing fine / doing great / going well / went well
bravo: go well / goes well / gone well / did well / very well / that will do / it's a keeper / i'm all for / on your feet
bravo: much better / even better / way better / by the book / keep on keeping on / don't mind if i do
say: did not i say / did i not say / have not i told you / have i not told you / did not i tell you / did not i ask you
more bravo: more of that / more of the same / more of this / some more of that
it: poor thing / poor chap / poor fellow / poor guy / poor little thing / poor soul
please: you are to / you're to / my preference is / trouble you for / would it be too much to ask that you
please: would it be too much to ask that / is it too much to ask that you / i'd thank you to / i'll thank you to
fine: no law against / no rule against / nothing says you can not / never object to / nobody objects to / nobody minds
stop: take your foot off the / foot off the / let go of the / release the / off the / get off the / lift off the
stop: hands off the
stop: get your foot off the / off with the / stay out of the / keep out of the / get out of the / come off the / back off the
undo: correct the / correct that / correct for the / compensate for the / compensate for that / counter the / counter that
undo: counteract the / counteract that / offset the / fix the / fix that / make up for the / make up for that / cancel out the
nope: the last thing / the very last thing
undo: take back that / take back the / take back your
left: cut left / cut to the left / cut over left
right: cut right / cut to the right / cut over right
stop: your fill of / had enough of you / enough of you / had my fill of
wrong-way: wrong heading / wrong course / wrong directon / wrong dirction / wrong bearing
overly: over the odds / well over / than it needed / than that needed / than you were told / than it had to
bravo: could not have been better / could not have gone better / could not have picked anything better than
bravo: could not have picked better than / could not have chosen better than / never seen it done so well
bravo: never seen it done better
bravo: what i call driving / what i call flying / what i call a move / what i call steering
nope: a dog's dinner / a dog's breakfast / an instant fail / just disappointed
nope: no what / no why / no stop / no don't / no do not / you suck / you sucked / epic fail / big fail / what a fail
nope: which i did not want / which i never wanted / which i did not ask for / which nobody wanted / which nobody asked for
nope: which was not asked for / told you not to / asked you not to / said not to / should not have done that
nope: should not have done
nope: should not do that / wish you had not / wrong again / got it wrong / got that wrong / get it wrong / getting it wrong
nope: did not ask for that / will not work / would not work / what is wrong with you / what's wrong with you
nope: what did you do that for / why did you do that / not how it's done / not how it is done / would not have done that
nope: the best you can do / the best you could do / not how you do it / never works / beyond me / makes no sense
nope: make no sense / made no sense / doesn't make sense / no sense / what are you doing / what were you thinking
nope: what was that / how could you / are you kidding me / are you kidding / are you serious / come on seriously
nope: cut it out / cut that out / knock it off / give me a break / never again / stop that / stop it / don't do that again
nope: don't do that / don't do it again / don't do it / do not do that / not again / not that again / i do not think so
nope: don't think so / think not / that's not it / not it / i expected better / expected better / expected more
nope: please stop / bad boy / bad girl / not great / not good / no good / not cool / not ok / not okay / not nice
nope: not happy / not what i wanted / not what i asked for / not what i meant / not what i had in mind / not what we needed
nope: not what i needed / not like that / not like this / off the mark / doing it wrong / didn't help / doesn't help
nope: did not help / didn't work / doesn't work / did not work / made it worse / made things worse / made matters worse
nope: you had one job / what the hell / what the heck / what on earth / get it together / could be better / could do better
nope: could have been better / you can do better / way off / oh dear / oh no / no thanks / no thank you / no no no / no no
nope: hmm no / not so good / not so great / not ideal / can't be serious / gone wrong / went wrong / goes wrong / all wrong
nope: a step backwards / let me down / not the best / not your best / out of line / out of order / a bad idea
nope: not a good idea / not my idea / had enough / sick of / tired of / fed up / not helping / not helpful / not working
nope: not impressed / not funny / look what happened / look what you did / see what happened / asking for trouble
nope: no solution / against the plan / not on / not the plan / not what the plan said / not according to plan / don't like
nope: didn't like / do not like / did not like / don't love / not a fan / nobody wants / nobody asked for / nobody asked
nope: good grief / yeah right / not acceptable / hold your horses
failed: still no / not a single / not one / not even one / still not a / chose not to / chose to not / there was no
failed: there were no / there was not a / there was not any / i saw no / i see no / held back from / shied from
failed: backed out of / did not see any / left out the / missed the chance to / missed the chance / missed your chance
failed: didn't bother / did not bother / never bothered / never came / forgot about / forgot to / failed to / neglected to
failed: refused to / nothing came of / never happened / didn't happen / fell asleep on / passed up / passed on / gave up on
failed: shied away from / held back from / held back on / skimped on / you still haven't / neglected
fine: nothing's stopping you from / nothing is stopping you from / nothing is keeping you from
fine: nothing is holding you back from
fine: nothing is preventing you from / nothing's keeping you from / nothing's holding you back from / would it hurt
fine: will it hurt / have my blessing / nothing stops you from / nothing stopping you from
fine: nobody would blame you for / no one would blame you for / not object to / can not blame you for / why should you not
fine: nothing keeps you from / nothing to fear / nothing to be afraid of / not forbidden / no crime / not a crime / no sin
fine: nothing wrong / no harm / no shame / not wrong / can't hurt / can not hurt / cannot hurt / couldn't hurt
fine: wouldn't hurt / nothing against / no objection to / won't regret / nothing bad about / wouldn't say no to
fine: won't say no to / not a bad idea / no bad idea / not the worst idea / don't mind / wouldn't mind / don't disagree with
fine: not unwise / not a mistake / no mistake / not against / no risk / never hurts / never hurt / not opposed to
fine: not averse to
you failed: not once have you / never once have you / not a single time have you / at no point have you / never have you
meter: a foot / one foot / a hair / a hand's breadth / a yard / an inch
anymore: any more / any longer
if: were you to / were we to / should you / if only / one more / if you had / had you / if you'd / had it / had we
if: as long as / in case
undo: do not go that way / exactly backwards / not go that way / not go this way / not in that direction / go that way
undo: go back / undo that / undo it / take it back / take that back / the other one / other one / in reverse / other side
undo: swap directions / other way round / other way around / other direction / other way / about face / a 180 / one eighty
undo: 180 degrees / turn around / turn back / switch sides / change sides / change direction / not that way / not this way
undo: not that side / not that direction / have it backwards / had it backwards / got it backwards / the contrary
undo: on the contrary / vice versa / the reverse / the opposite / step back / back up / retrace / come back / cancel that
undo: opposite of what / other end / back the way you came / back where you came from / return / roll back / roll that back
undo: reverse that / the wrong end / not there / do the opposite / put it back / go the opposite way / opposite way
undo: opposite direction / opposite side / opposite of / back again / about turn / about-turn / turn it around
undo: turn that around / the inverse / exactly wrong / other way please / not this direction / swap sides / other hand
undo: reverse course / the wrong one / wrong one / move back / head back / back to where you were / swap it
turn: a quarter turn / quarter turn / half turn / half a turn / a half turn / a quarter of a turn
better than: beat / would beat / is better than / superior to / preferable to / beats / over / makes more sense than
better than: trumps / better off than / wins over / ahead of / more sensible than / wiser than / outperforms / safer than
better than: smarter than / works better than / outdoes / as against
stop: there was not any need to / not any need to / no need for us to / no use / lay off the / hold back on / no more
stop: rule out / exclude / leave out / keep from / spare me the / enough of / that's enough / that is enough
stop: that's plenty of / plenty of / our fill of / my fill of / more than enough / had enough of / done with / through with
stop: no need to / no need for / no need / no reason to / no reason for / no point in / no point / steer clear of
stop: stay away from / keep away from / keep off / stay off / stay clear of / no longer / give up on / give up
stop: instead of more / what's the point of / what is the point of / say no to / be shy / shy away from / back away from
stop: hold off on / hold off / get away from / move away from / away from / anything but / far from / under no circumstances
stop: at no point / not once / on no account / by no means / in no way / no time / put off / cut out / no longer need
stop: be afraid of / be afraid to / be scared of / be scared to / be shy about / think twice about / miss out on
stop: reason to avoid / at no time / you dare / don't you dare / hardly ever / try not to / a ban on
why: i do not see why / do not see why / can not see why / no idea why / how come / what made you / what possessed you to
why: who told you to / what kept you from not / why on earth / what was the point of / what's with the / what's with
why: since when / who asked you to / who asked for / what's the idea of
agree: couldn't agree more / could not agree more
absolutely: for crying out loud / damn it / dammit / i tell you / i say / you hear me / ok / okay then / by the way
absolutely: in the way / on the way / as far as / at all / if anything / by far / as well / of course / for once / a while
absolutely: right now / right away / right here / right there / on the other hand / all the way / for goodness' sake
absolutely: for heaven's sake / for god's sake / for the love of god / if you ask me / if i were you / would you / will you
absolutely: could you / can you / if you would / if you please / if you don't mind / if it's all the same to you
absolutely: so to speak / you know / you see / in my opinion / i suppose / kind of / sort of / in this case / in that case
absolutely: at this point / at the moment / at last / at least / once and for all / i'm afraid
absolutely: how many times must i tell you / how many times / sorry to bother you / sorry but / excuse me / not to worry
absolutely: no doubt / no idea / no question / thank you / thanks / as it is / no matter / i wonder if / i wonder whether
absolutely: don't know / don't care / why on / i don't understand much / my friend / for a change / you may / feel free to
absolutely: it's fine to / get to / going to / about to / come to
liked: i like / i liked / really like / really liked / quite like / quite liked / i do like
mistake: not an option / out of the question / not the way to go / not the way / nothing but trouble
gentler: calm down / ease up / lay off / hold back / take it easy / go easy / tone it down / tone down
gentler: dial it back / dial it down / dial down / rein it in / let up / not so fast / less force / less power / less speed
gentler: less effort / take some off / take some of it away / slow down / slow it down / wind it back / less of it
gentler: pull your punches / less energy / less pressure / less strength / a lighter touch / softly softly / less hard
gentler: cool it
harder: speed up / more power / more force / more speed / more oomph / more effort / more energy / more strength
harder: put your back into it / step on it / give it some / more pressure / more punch / pick up the pace / go big
harder: full power / full throttle
less: back off / ease off
absolutely: how many times must i say / how many times do i have to say / how many times have i said / how often must i say
less: ease up on / dial down the / tone down the / tone the / ease off the / cool it on / cut back on the / go easy on the
less: go easier on the / lighten up on / hold back on the / half as much / half that much / half as hard / half as far
less: half as strong / only half / half of that / half the amount / half that / cut in half / cut by half / cut down on
less: cut back on / take away from / take some away / in half / a third of / a quarter of / half of / scale back / dial back
less: wind back / not as much / not that much / not as far / not so far / not that far / not as hard / not so hard
less: not that hard / go easier on / easy on / ease off on / lay off on / cut / cut down / too much of / half the
less: half your / a fraction of / a bit less of
some: half a
higher: a greater height / greater height / more height / gain height / gain altitude / more altitude / gain some height
lower: a lesser height / less height / lose height / lose altitude / less altitude / lose some height
instead-of: not so much / rather than / instead of / as opposed to / in place of / and not / but not
more: twice as much / twice as far / twice as hard / another bit / a bit extra / put more into / step up / ramp up
miss: miss the chance to / miss the chance of / pass up
worse than: not as good as / not nearly as good as / not so good as / less good than / inferior to / no match for / loses to
worse than: poorer than / no better than / nowhere near as good as / less wise than / less useful than / less sensible than
better: better off on / better off going / better off / makes more sense / makes sense / more sensible
overly: way over the top / over the top / a step too many / too many / more than you should have / more than you should
overly: more than needed / more than necessary / more than required / farther than i asked / further than i asked
overly: more than i asked / more than i wanted / than necessary / than needed / than i asked / than i wanted
overly: than you needed to / than you should have / than you should / than required / than requested / than asked
overly: than i said / than it should / went on too long / went on for too long / a bit much / a little much / by too much
overly: far too much / way too much / too much / too far / too strong / too hard / overdid it / overdone it / went overboard
overly: than anyone needed / than anyone wanted / than anyone asked / than anybody needed / than anybody wanted
overly: than was wanted / than was asked / than i bargained for / than i hoped / than i meant / than i had in mind
overly: than planned / than expected
overly: heavy handed / heavy-handed / than is good / than was good / than called for / than that was needed / over the limit
overly: too long / too strongly / off the scale / a tad much / rather a lot / that's a lot of / quite a lot of / out of hand
overly: got carried away / carried away / to excess / beyond what / more like a kick / past the point / exaggerated badly
overly: beyond the mark / in excess / too violently / too fast / too quickly / too large / too big / 2 far / overshot it
overly: over did / over done / over shot / 2 much / to much / to far / too great / too forceful / too aggressive / too rough
insufficiently: came up short / comes up short / too little too late / left a lot to be desired / not enough
insufficiently: nowhere near enough / anywhere near enough / nearly enough / not far enough / not hard enough / fell short
insufficiently: falls short / short of / not nearly / nowhere near / too weak / too soft / too softly / too gentle
insufficiently: too gently / too short / too small / too timid / too timidly / too slow / too slowly / too shy / too light
insufficiently: too lightly / too faint / so faintly / too cautious / too hesitant / too tentative / too feeble / too weakly
insufficiently: too late / need plenty more / a lot more to / could have been more / could use more / hardly any
insufficiently: barely any / not much of a / too few / could have been a lot more / not any further / no further than
insufficiently: not quite enough / more like a nudge / should have gone further / could do with more / too modest
insufficiently: too carefully / half hearted / half-hearted / half heartedly / a bit weak / not very far / not very hard
insufficiently: not very strong / not sufficient / not sufficiently / not strong enough / so weakly / so timidly / so little
wrong-way: wrong way / wrong direction / wrong side / the wrong way / the wrong direction / the wrong side / a wrong turn
same: same way / same direction / same side / correct side / right side of it
scratch-that: no wait / wait no / scratch that / strike that / i mean / i meant / make that / hang on / hold on
scratch-that: forget that / or rather / no sorry / sorry no / my mistake / my bad / or actually / no actually / actually no
scratch-that: no i mean / no no it's / correction / er no / your other / no make it / no make that / did i say
scratch-that: but it should be / let me rephrase / on second thought / on second thoughts / i take that back / wait wait
scratch-that: oh wait / ah no / i misspoke / pardon / well no / or better / nay / nah
now: and then / so then / next up / from now on
keep: keep on / stay on / go on / carry on
""".strip()
_WHOLE_LINES = """
bravo: you've got it / you got it / that's it / got it / killed it / crushing it / killing it / thank you / thanks
bravo: thank you so much / thanks a lot / that was the one / that one / the one / excellent choice / just what i wanted
bravo: keep going / carry on / go on / proceed / like that / like this / right on / just so / keep on / same / again
bravo: encore / perfect carry on / this is it / stay like that / go ahead / keep it / nice and easy / onwards / no change
bravo: you're there / what i asked for / sold
undo: the other / other / not this side / backwards / backward / other one
less: not so much / not as much / not that much / a bit less / much less
nope: do better / try harder / try again / think again / no way / come on / my god / you failed / fail / failed
nope: that does it / no can do / no / not that / don't / wait / stop / halt / enough / quit / why / hey / not / that hurts
nope: what / not now / seriously / really
""".strip()


def _table(lines: str) -> dict[str, str]:
    return {
        idiom: meaning
        for line in lines.splitlines()
        for meaning, _, idioms in [line.partition(": ")]
        for idiom in map(str.strip, idioms.split(" / "))
    }


IDIOMS = _table(_LINES)
"""Idioms anywhere."""
WHOLE_IDIOMS = _table(_WHOLE_LINES)
"""Idioms that have to be a clause by themselves."""
