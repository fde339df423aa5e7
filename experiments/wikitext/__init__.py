"""Seed 002: language models of WikiText-2, LSTMs and GPTs of one, two and four layers.

embeddings, tables         the tables that models read and predict by, which are not trained
first_loss                 the loss of untrained models, by which their scale is chosen
task, options              the training that all share; what their commands have in common
comparison                 the twelve models of the seed
cost, depth, overfitting   time and memory; why deep ones fail; what helps those that overfit
samples                    text that they write
seed, measures, figures, errata, report
"""
