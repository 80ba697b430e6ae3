"""Several seeds side by side, each in its own process."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

from interp._progress import progress
from interp.toys.training.recipe import Recipe
from interp.toys.training.recipes import named
from interp.toys.training.runs import Run
from interp.toys.training.train import cached_run, train


def train_seeds(
    recipe: str | Recipe, seeds: Sequence[int] = (0, 1, 2), *, processes: int = 2
) -> list[Run]:
    """The runs of a recipe with these seeds, trained side by side; existing ones are loaded.

    They have the same bits as runs trained one after another. An interrupted call continues where
    it was.

    Example:
        >>> runs = toys.train_seeds("induction", [0, 1, 2])
        >>> toys.over_training(runs, toys.loss_on(batch)).plot()

    Args:
        recipe: A recipe, or one of `interp.toys.RECIPES`.
        seeds: Different seeds.
        processes: How many processes train at a time, each on one thread.

    Returns:
        A list of `Run`, one per seed.

    Raises:
        ValueError: If seeds repeat, or a training fails.
    """
    recipes = [named(recipe).but(seed=seed) for seed in seeds]
    if processes < 1 or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"train_seeds(seeds={list(seeds)}, processes={processes}): different seeds, and a"
            " process at least"
        )
    todo = [seeded for seeded in recipes if cached_run(seeded) is None]
    if len(todo) > 1 and processes > 1:
        _side_by_side(todo, processes)
    return [train(seeded) for seeded in recipes]


def _side_by_side(recipes: Sequence[Recipe], processes: int) -> None:
    """Trains recipes into the cache, each in a process.

    Processes are started with `subprocess`, because a notebook's own module cannot be imported by
    one.
    """
    queue, running, failed = list(recipes), [], []
    lock = threading.Lock()
    with progress(
        None, f"{recipes[0].name}, {len(recipes)} seeds", total=sum(r.steps for r in recipes)
    ) as bar:

        def work() -> None:
            while True:
                with lock:
                    if not queue or failed:
                        return
                    worker = _start(queue.pop(0))
                    running.append(worker)
                for line in worker.stdout:
                    if line.startswith("steps "):
                        with lock:
                            bar.update(int(line.split()[1]))
                errors = worker.stderr.read()
                if worker.wait():
                    failed.append(errors)

        threads = [
            threading.Thread(target=work, daemon=True) for _ in range(min(processes, len(recipes)))
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:  # also when interrupted
            for worker in running:
                if worker.poll() is None:
                    worker.terminate()
                    worker.wait()
    if failed:
        last = [line for line in failed[0].splitlines() if line.strip()] or ["it said nothing"]
        raise ValueError(f"a seed could not be trained: {last[-1].removeprefix('ValueError: ')}")


def _start(recipe: Recipe) -> subprocess.Popen:
    """A process that trains one recipe."""
    path = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "INTERP_PROGRESS": "0"}
    worker = subprocess.Popen(
        [sys.executable, "-m", "interp.toys.training.worker"],
        env=env,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    worker.stdin.write(recipe.to_json())
    worker.stdin.close()
    return worker
