"""What one process of `train_seeds` runs: a recipe from standard input, trained into the cache."""

import sys

from interp.toys.training.recipe import from_json
from interp.toys.training.train import train

if __name__ == "__main__":
    train(from_json(sys.stdin.read()), callback=lambda steps: print(f"steps {steps}", flush=True))
