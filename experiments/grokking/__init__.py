"""Seeds 000 and 001: two language models learn modular arithmetic.

objective                 batches, loss and accuracy
sanity ... attention_maps  one module an experiment, each a command
seeds, errata             numbers that the seed documents print, and where they seem wrong
report                    all experiments on one page and in one PDF
"""
