"""The report of all experiments: an HTML page and a PDF, made from the same records.

    content    chapters: what the records of each experiment come to, and the errata
    curves     every run as numbers, for the page to draw
    weights    the GPT whose attention the page shows
    page       content -> one HTML file, with page.css, page.js and gpt.js
    pdf        content -> one PDF

The command is `experiments.grokking.report`.
"""
