"""Seeds 000 and 001: two language models learn modular arithmetic.

task, objective            what is trained: its settings, batches, loss and accuracy
options, prefix            what the command lines share; sequences that begin alike, computed once
sanity ... attention_maps  one module an experiment, each a command: docs/experiments.md
seeds, figures             the protocol, models, numbers and figures that they share
norm, attention            what is measured of a norm, and read from a model, trial by trial
errata                     where the seeds seem wrong
report, live               all experiments on one page and in one PDF; the GPT in the page
"""
