"""Seed 002: language models of WikiText-2, an LSTM and a GPT with one, two and four layers.

embeddings    the tables that the models read and predict by, which are not trained
first_loss    the loss of untrained models, by which the scale of the tables is chosen
ngrams        yardsticks: unigrams, and bigrams and trigrams by Kneser and Ney
"""
