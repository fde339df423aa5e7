"""One trial: a model trained by one set of settings.

    modular     the data: equations modulo a prime
    objective   batches, loss and accuracy
    training    a trial from its settings to its records: steps, evaluations, checkpoints
    together    trials of equal shape as one stacked model
    records     the files that a trial writes, and reading them

`experiments.sweeps` runs many of them.
"""
