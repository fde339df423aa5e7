"""Material to learn with: the chapters of the texts as notebooks."""
