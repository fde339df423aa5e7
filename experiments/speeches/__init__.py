"""Seed 003: speeches of three presidents, a classifier of sentences and a language model.

task, bag                  what is trained: settings, batches, loss, measures; a linear baseline
options, tokenize          what the command lines share; the data as tokens, once
classifier ... timing      one module an experiment, each a command: docs/experiments.md
seed, measures             the numbers of the seed; quantities of trials, and groups of these
accuracies                a table that several experiments have
attention                  what a model attends to: maps, and numbers over a test set
trained, live              a language model as its trial left it; the section of the page with it
errata, report             where the seed seems wrong; all experiments on one page and in one PDF
"""
