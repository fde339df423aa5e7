"""Seed 004: gradients, Pig Latin, scaling laws, BERT and CLIP.

gradients, relative_attention      1: what is derived there, by measurement; nothing is trained
words, translate                   2: words in batches; translators as trials and tasks
options, measures                  2: what the commands of translators share
translation, decoder_only          2: encoder-decoders; decoders, and how their loss scales
flops, isoflop, scaling            2.3: FLOPs, the best size for a budget, tables of it
arithmetic, head, checkpoint       3: BERT fine-tuned, or a classifier on it; where MiniLM is
texts, pretraining                 3: texts, and encoders of our own that read them
bert, arithmetic_measures          3: the command; quantities of its trials
pairs, pieces, prompts, retrieval  4: a small CLIP, its captions as ids, and what it finds
clip, clip_tables, clip_live       4: the command; the section of the page with a prompt
..._figures                        figures of each
seed, errata, report               the seed's numbers; where it is wrong; all on one page
"""
