"""One trial: a model trained by one set of settings.

    training    a trial from its settings to its records: steps, evaluations, checkpoints
    together    trials of equal shape as one stacked model
    records     the files that a trial writes, and reading them

`experiments.sweep` runs many of them.
"""
