"""Seeds 000 and 001: two language models learn modular arithmetic.

task, objective            the trial and its task: settings, batches, loss and accuracy
options, prefix            common options of the commands; shared prefixes, computed once
sanity ... attention_maps  one module per experiment, each a command: docs/experiments.md
seeds, figures             the protocol, models, numbers and figures that they share
norm, attention            measurements of the norm, and of attention, for one trial
errata                     errors in the seeds
report, live               all experiments on one page and in one PDF; the GPT in the page
"""
