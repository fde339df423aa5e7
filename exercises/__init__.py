"""Exercises cut from the library: a workbook of its own source with the decisive lines taken out.

    python -m exercises start FOLDER     # writes the workbook
    python -m exercises check 7          # what is right, what is wrong, and what it is called

exercise       what an exercise is
cut            the source of a function with lines taken out, or with a mistake put in
chapters/      the exercises, one module for each chapter of docs/reading.md
probes         what an answer computes, in place of the library's lines
faults         names for wrong numbers: a sign, a missing sum, a transposed product
check          an answer against the library
workbook       the folder that a student works in
notebooks      the chapters of the texts as notebooks
"""
