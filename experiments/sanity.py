"""The experiment of `experiments.grokking.sanity`, under the name by which most people start it."""

import sys

from experiments.grokking.sanity import EXPERIMENT, __doc__
from experiments.sweep.experiment import main

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT, description=__doc__))
