"""Experiments: one command each, over shared pieces.

    sanity      the command of the project: LSTM and GPT on modular addition
    train/      one trial: data, loss, training, and the folder of records that it leaves
    sweep/      many trials: the command line, where they run, what is shown meanwhile
    results/    from records to numbers, tables, figures and verdicts
    report/     all experiments on one page and in one PDF
    data/       arrays on the host
    grokking/   the experiments of seeds 000 and 001: `python -m experiments.grokking.NAME`
    speeches/   seed 003, so far its data and what is trained

Each command says in its first lines how it is used.
"""
