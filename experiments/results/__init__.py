"""From records to results, for any experiment. Nothing here trains, or depends on the task.

trials      trials selected by their settings
curves      numbers that summarize one curve, and their spread over seeds
trends      slopes and differences with confidence intervals
claims      claims of a text, and tests of them by our runs
results     tables, figures and claims, and the files made of them
tables      tables of mean ± std
figures     the style of figures, and writing them
panels      figures that all sweeps share
bands       figures of curves over training, as bands over seeds
maps        figures of attention
"""
