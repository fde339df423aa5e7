"""From records to results.

    metrics     what one curve comes down to: best values, when they were reached
    groups      trials by their settings, and numbers over seeds
    trends      slopes and differences with intervals, on which verdicts rest
    results     tables, drawings and claims, and the files made of them
    tables      numbers as people read them, and the table that all sweeps share
    figures     the look of figures, and how they are written
    panels      figures that all sweeps share

Nothing here trains.
"""
