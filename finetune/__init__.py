"""Students: TRL runs over the rows that synth writes.

A room imports from rooms of a smaller number alone; of synth it may import any but its pipeline and
its commands, where the last column says nothing else:

core          1  tensors by their dimensions, and what is asked of libraries
data          2  rows on disk -> token ids, one way
settings      3  what every training is told
students      4  opening a model and keeping it
losses        5  losses over tokens, one file each
list_losses   6  losses over lists of texts, one file each
kernels       7  logits that never exist whole
generation    8  what a student says
answering     9  how a student is asked beside by its prompt, and a server of it
scoring      10  vectors, classes and likelihoods of texts
objectives   11  what rows of unequal weight do to a loss
teachers     12  open teachers
rollouts     13  texts of the student by servers that are given its weights
trainers     14  TRL's trainers, changed where a loss needs it
measures     15  what answers are worth beside exact match, one file each
measuring    16  what a student can do
recipes      17  one file a command
flows        18  loops with the student in them
sharing      19  a student taken elsewhere: to servers, to the hub
cli          20  the command `finetune`
"""

from __future__ import annotations

from synth.core import moved

moved.install()
