"""Students: TRL runs over the rows that synth writes.

A room imports from rooms of a smaller number alone; of synth it may import any but its pipeline and
its commands, where the last column says nothing else:

data          1  rows on disk -> token ids, one way
settings      2  what every training is told
students      3  opening a model and keeping it
losses        4  losses over tokens, one file each
list_losses   5  losses over lists of texts, one file each
kernels       6  logits that never exist whole
generation    7  what a student says
scoring       8  vectors, classes and likelihoods of texts
objectives    9  what rows of unequal weight do to a loss
teachers     10  open teachers
trainers     11  TRL's trainers, changed where a loss needs it
measuring    12  what a student can do
recipes      13  one file a command
flows        14  loops with the student in them
cli          15  the command `finetune`
"""

from __future__ import annotations

from synth.core import moved

moved.install()
