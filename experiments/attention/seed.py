"""The numbers that seed 004 reports, from its tables and text."""

from __future__ import annotations

# Table 1: the least validation loss of four encoder-decoders, by hidden size and data set.
TABLE_1 = {(32, "small"): 0.799, (32, "large"): 1.156, (64, "small"): 0.478, (64, "large"): 0.569}

DECODER_ONLY = 0.2  # section 2.2.3: its loss; table 2 has .425 for the same settings

# Table 2: validation loss of decoder-only models, by hidden size.
TABLE_2 = {16: 1.655, 32: 1.054, 48: 0.757, 64: 0.487, 96: 0.314, 128: 0.425}
BUDGET = 1e15  # section 2.3.3: FLOPs, for which a number of parameters is asked
OPTIMAL_PARAMETERS = 1e10  # its answer

# Sections 3.2 and 3.3: validation accuracy; and batches a second, as a progress bar shows them.
FINE_TUNED, FROZEN, OTHER_DOMAIN = 0.92, 0.74, 0.72
SPEED_FINE_TUNED, SPEED_FROZEN = 15.0, 60.0
