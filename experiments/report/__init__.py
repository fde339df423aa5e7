"""A report of several experiments: an HTML page and a PDF, made from the same records.

    report      Report, and what it comes to: chapters, answers, errata
    curves      every run as numbers, for the page to draw
    page        contents -> one HTML file, from page.html, page.css and page.js
    weights     a model in the page: its numbers, and the scripts that compute with them
    pdf         contents -> one PDF
    command     runs the experiments of a report, and writes both
    overview    one page over all reports; `python -m experiments.report` writes it

A report is data, such as `experiments.grokking.report.REPORT`.
"""
