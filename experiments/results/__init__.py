"""From records to results. Nothing here trains, and nothing knows what was trained.

trials      trials by their settings
curves      what one curve comes to, and the spread of that over seeds
trends      slopes and differences with intervals
claims      what a text says, beside what our runs say of it
results     tables, drawings and claims, and the files made of them
tables      numbers as people read them, mean ± std
figures     the look of figures, and how they are written
panels      figures that all sweeps share
maps        figures of attention
"""
