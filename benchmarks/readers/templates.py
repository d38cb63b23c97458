"""Phrasings by template, to train a classifier on: {a} is the direction taken, {b} the one that is wanted instead."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.readers.remarks import ARM, CART, Spoken

ASK_FOR_B = """
You went {a} when you should have gone {b}.
You should have gone {b}, not {a}.
I told you not to go {a}.
I asked you to go {b} and you went {a}.
No need to go {a}.
There was no need to go {a}.
Undo that {a} move.
Undo the {a} step.
Take back that {a} move.
Not {a}, please.
Never {a} like that.
{a} was a bad idea.
Going {a} made it worse.
Why {a}?
Why did you choose {a}?
Why not {b}?
Why didn't you go {b}?
You never went {b}.
You haven't gone {b} at all.
Nobody said {a}.
Nobody asked for {a}.
I said {b}, not {a}.
I said {b}.
{b}!
{b} next time.
{b} instead.
{b} instead of {a}.
{b} rather than {a}.
{b} would have been better.
{b} would be better than {a}.
{b} beats {a} here.
{a} is worse than {b}.
Less {a}.
A bit less {a}.
Not so {a}.
Too far {a}.
Way too much {a}.
That was too {a}.
You went too far {a}.
Enough {a} now.
No more {a}.
Stop going {a}.
Stay away from {a}.
Don't go {a}.
Do not go any further {a}.
Don't you dare go {a}.
Don't hesitate to go {b}.
Don't forget to go {b}.
Don't stop going {b}.
Don't be afraid of going {b}.
It wouldn't hurt to go {b}.
There is nothing wrong with going {b}.
It was not wrong to want {b}.
You can't go wrong with {b}.
Not far enough {b}.
Not {b} enough.
You should go further {b}.
You could have gone {b}.
You might want to go {b}.
I would have gone {b}.
I'd go {b}.
Would you mind going {b}?
Could you go {b}, please?
Shouldn't it be {b}?
Isn't {b} the better way?
How about {b}?
Let's go {b}.
Let us try {b}.
Try {b}.
It is to the {b} that you should have gone.
It is {b} that I want.
It was {b} that was needed.
To the {b} is where it should go.
If you had gone {b}, it would have worked.
When it does that, go {b}.
Whenever it tilts, go {b}.
Had you gone {b}, all would be well.
Go {b} because it falls that way.
It falls, so go {b}.
Please go {b} before it is too late.
Before you go {a} again, think of {b}.
Keep going {b}.
Again {b}.
More {b}.
Much more {b}.
A touch {b}.
Slightly more {b}.
Gently {b}.
Harder {b}.
{b}, harder.
Wrong, go {b}.
No, {b}.
No no, not {a}, {b}.
{a}, no wait, {b}.
{a}... sorry, {b}.
{a}? No, {b}.
{a} again?!
Did I say {a}?
You went {a}, which was wrong.
You went {a}. That was a mistake.
You went {a} and it nearly fell.
{a} is not the way.
{a} isn't what I wanted.
It is not {a} that I want but {b}.
I don't want you to go {a}.
I want you to go {b}.
I wanted {b}.
I was hoping for {b}.
I expected {b}.
My choice would be {b}.
The answer is {b}.
Everything points to {b}.
You failed to go {b}.
You missed the chance to go {b}.
You refused to go {b}.
Without going {b} it falls.
Unless you go {b} it falls.
Anything but {a}.
Get off the {a}.
"""
ASK_FOR_NEITHER = """
The cart is too far {a}.
It is drifting {a}.
It leans {a}.
The pole falls {a}.
My sister went {a}.
There is a wall on the {a}.
It stands {a} of the middle.
The goal lies {a}.
It is already {a}.
Is it {a} or {b}?
{a} and {b} look the same to me.
He always turns {a}.
"""


def of_templates() -> Iterator[Spoken]:
    """
    :return: Each template about each dimension of the two sets of names, with both of its directions
    """
    for names in (CART, ARM):
        for dimension, said in enumerate(names.dimensions):
            for direction in (-1, 1):
                wanted, taken = np.zeros(names.n_dimensions), np.zeros(names.n_dimensions)
                taken[dimension] = -0.5 * direction
                low, high = said.low[0], said.high[0]
                words = {"a": low, "b": high} if direction > 0 else {"a": high, "b": low}
                for line in ASK_FOR_NEITHER.strip().splitlines():
                    yield Spoken(line.format(**words), names, taken, wanted, "none", "template")
                wanted = wanted.copy()
                wanted[dimension] = direction
                for line in ASK_FOR_B.strip().splitlines():
                    yield Spoken(line.format(**words), names, taken, wanted, "direction", "template")
