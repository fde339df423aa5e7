"""Experiments: one command each (`python -m experiments.NAME`), over shared pieces.

    trial/      one trial: data, loss, training, and the folder of records that it leaves
    sweeps/     many trials: the command line, where they run, what is shown meanwhile
    analysis/   from records to numbers, tables, figures and verdicts
    report/     all experiments on one page and in one PDF

Each command says in its first lines how it is used.
"""
