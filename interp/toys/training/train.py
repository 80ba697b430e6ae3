"""`train` and `load_or_train`: a recipe becomes a run, once, on one thread, with the same bits."""

import json
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interp import _files, _store
from interp._progress import progress
from interp._warn import warn
from interp.toys.model.parts import Net
from interp.toys.model.spec import spec
from interp.toys.training import runs
from interp.toys.training.recipe import Draw, Recipe, digest
from interp.toys.training.recipes import named
from interp.toys.training.runs import Run

IGNORE = -100  # a target where no loss is taken
SAVE_EVERY = 10.0  # seconds between two states that an interrupted run goes on from
EVERY = 25  # steps between two times that the caller is told
FAR = 1000.0  # a loss so many times the first one will not come back

Show = Mapping[str, Callable[[Any], float]]


def load_or_train(recipe: str | Recipe, **changes: Any) -> Run:
    """The run of a recipe or of a recipe's name: loaded if trained before, otherwise trained.

    Example:
        >>> model = interp.toys.load_or_train("induction").model()
        >>> interp.toys.load_or_train("induction", seed=1, steps=500)

    Args:
        recipe: A recipe, or one of `interp.toys.RECIPES`.
        changes: Values of the recipe to change.

    Returns:
        A `Run`.
    """
    return train(named(recipe).but(**changes))


def train(
    recipe: Recipe,
    *,
    draw: Draw | None = None,
    folder: str | Path | None = None,
    show: Show | None = None,
    callback: Callable[[int], None] | None = None,
) -> Run:
    """The run of a recipe: loaded if the same recipe was trained before, otherwise trained now.

    An interrupted training continues where it was, with the same bits. Runs are kept in the cache
    (INTERP_CACHE), named by a hash of the recipe, its first batch and its first weights.

    Example:
        >>> recipe = toys.Recipe("copy", data="repeated_tokens", steps=500)
        >>> run = toys.train(recipe, show={"loss": toys.loss_on(batch)})

    Args:
        recipe: What is trained.
        draw: Your own batches, a function `draw(n, generator)` whose value has inputs and targets.
            A function cannot be hashed, so such a run is kept only in the `folder` that you name.
        folder: Another place than the cache.
        show: Measures of the model for the progress bar, taken at checkpoints.
        callback: Called now and then with the number of steps since the last call.

    Returns:
        A `Run`.

    Raises:
        ValueError: If training diverges, with the step; or the recipe names no data.
    """
    own_draw, draw = draw is not None, draw or _source(recipe).batch
    with one_thread():
        net, first, key = _begin(recipe, draw)
        home, temporary = _home(recipe, key, own_draw, folder)
        with _store.lock(home / ".lock"):
            run = _opened(home, key, temporary)
            if run is None:
                tokens = _tokens_of(recipe, first)
                _fit(
                    recipe,
                    net,
                    draw,
                    home,
                    key,
                    tokens,
                    _shown(net, show or {}, tokens),
                    callback or (lambda steps: None),
                )
                run = _opened(home, key, temporary)
    return run


def cached_run(recipe: str | Recipe) -> Run | None:
    """The run of a recipe if the cache has it, otherwise None."""
    recipe = named(recipe)
    with one_thread():
        _, _, key = _begin(recipe, _source(recipe).batch)
    return _opened(home_of(recipe, key), key)


def _begin(recipe: Recipe, draw: Draw) -> tuple[Net, Any, str]:
    """The untrained net, a first batch that shows the shape of the data, and the key of the run."""
    first = draw(min(recipe.batch, 8), recipe.generator("first"))
    net = Net(spec(**_options(recipe, first)), recipe.number("weights"))
    return net, first, digest(recipe, first.inputs, first.targets, *net.parameters())


def _opened(home: Path, key: str, temporary: Any = None) -> Run | None:
    """The run in a folder if it has this key, otherwise None."""
    run = runs.opened(home, temporary)
    return run if run is not None and run.metadata["key"] == key else None


def loss(net: Net, batch: Any) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy (nats) over all targets, and the logits there [place d_vocab]."""
    where = batch.targets != IGNORE
    if where.all():
        logits, targets = net(batch.inputs).flatten(0, 1), batch.targets.flatten()
    else:
        logits, targets = net.logits_at(batch.inputs, where), batch.targets[where]
    return F.cross_entropy(logits, targets), logits


# --- the loop -------------------------------------------------------------------------------------


def _fit(
    recipe: Recipe,
    net: Net,
    draw: Draw,
    home: Path,
    key: str,
    tokens: Mapping[str, Any],
    show: Callable,
    callback: Callable,
) -> None:
    """Trains a net from where it was interrupted, and writes its checkpoints."""
    started, keep = time.perf_counter(), set(recipe.checkpoint_steps())
    optimizer = _optimizer(recipe, net)
    generators = {what: recipe.generator(what) for what in ("data", "forget")}
    losses = _resume(home, key, net, optimizer, generators)
    if not losses:
        _store.write_tensors(runs.checkpoint(home, 0), dict(net.named_parameters()))
    saved, shown, reported = time.monotonic(), {}, 0
    rows = list(_forgotten(recipe, net))
    with progress(None, f"{recipe.name} (seed {recipe.seed})", total=recipe.steps) as bar:
        bar.update(len(losses))
        for step in range(len(losses) + 1, recipe.steps + 1):
            optimizer.param_groups[0]["lr"] = recipe.lr * recipe.factor(step - 1)
            batch = draw(recipe.batch, generators["data"])
            now, logits = loss(net, batch)
            total = (
                now + recipe.z_loss * logits.logsumexp(-1).square().mean() if recipe.z_loss else now
            )
            losses.append(now.item())
            _check(recipe, losses, float(total.detach()))
            optimizer.zero_grad(set_to_none=True)
            total.backward()
            if recipe.clip:
                torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.clip)
            optimizer.step()
            if recipe.forgets(step):
                _forget(recipe, rows, optimizer, generators["forget"])
            if step in keep:
                _check_weights(recipe, net, step)
                _store.write_tensors(runs.checkpoint(home, step), dict(net.named_parameters()))
                shown = show()
            bar.update()
            if step % EVERY == 0 or step == recipe.steps:
                callback(step - reported)
                reported = step
            if step % 50 == 0 or (step in keep and shown):
                bar.set_postfix({"loss": f"{losses[-1]:.3f}", **shown}, refresh=False)
            if time.monotonic() - saved > SAVE_EVERY:
                _save_state(home, key, net, optimizer, generators, losses)
                saved = time.monotonic()
    steps = recipe.checkpoint_steps()
    metadata = {
        "method": "training",
        "model": recipe.name,
        "seed": recipe.seed,
        "key": key,
        "torch": torch.__version__,
        "seconds": round(time.perf_counter() - started, 2),
    }
    sizes = [runs.checkpoint(home, s).stat().st_size for s in steps]
    head = {
        "steps": steps,
        "sizes": sizes,
        "metadata": metadata,
        "options": net.spec.options(),
        **tokens,
    }
    runs.finish(home, recipe, losses, head)


def _optimizer(recipe: Recipe, net: Net) -> torch.optim.Optimizer:
    """The optimiser of a recipe."""
    learned = [p for p in net.parameters() if p.requires_grad]
    options = dict(lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(learned, momentum=recipe.momentum, **options)
    optimizer_class = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return optimizer_class(learned, betas=tuple(recipe.betas), **options)


def _check(recipe: Recipe, losses: list[float], total: float) -> None:
    """None if the loss is finite and has not exploded; otherwise a ValueError."""
    if math.isfinite(total) and losses[-1] < FAR * (losses[0] + 1):
        return
    step = len(losses)
    if step == 1:
        raise ValueError(
            f"{recipe.name}: the loss is {total:g} before any training: does each batch have a"
            f" target that is not {IGNORE}?"
        )
    raise ValueError(
        f"{recipe.name}: the loss is {total:g} at step {step} and was {losses[-2]:.4g} before:"
        f" training diverged; try a smaller lr than {recipe.lr:g},"
        f" warmup={max(100, 2 * recipe.warmup)}, or clip=1.0"
    )


def _check_weights(recipe: Recipe, net: Net, step: int) -> None:
    """None if all weights are finite; otherwise a ValueError."""
    for name, weight in net.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(
                f"{recipe.name}: {name} is not finite after step {step}: training diverged; try a"
                f" smaller lr than {recipe.lr:g}, or clip=1.0"
            )


# --- forgetting -----------------------------------------------------------------------------------


def _forgotten(recipe: Recipe, net: Net) -> Iterator[tuple[Tensor, slice, float]]:
    """The parameter that is drawn anew, its rows, and the standard deviation."""
    if not recipe.forget_every:
        return
    if net.spec.d_in or not net.embed.weight.requires_grad:
        raise ValueError(
            "forget_every draws token embeddings anew, and this model has none that are learned"
        )
    first, stop = recipe.forget_rows or (0, net.spec.d_vocab)
    yield net.embed.weight, slice(first, stop), net.spec.d_model**-0.5 * net.spec.init_scale


@torch.no_grad()
def _forget(
    recipe: Recipe, rows: list, optimizer: torch.optim.Optimizer, generator: torch.Generator
) -> None:
    """Draws embeddings anew and resets the optimiser's moments of them."""
    for weight, at, std in rows:
        weight[at] = torch.randn(weight[at].shape, generator=generator) * std
        for moment in optimizer.state.get(weight, {}).values():
            if isinstance(moment, Tensor) and moment.shape == weight.shape:
                moment[at] = 0.0  # what the optimiser remembers of rows that are gone


# --- going on after an interruption ---------------------------------------------------------------


def _save_state(
    home: Path,
    key: str,
    net: Net,
    optimizer: torch.optim.Optimizer,
    generators: Mapping,
    losses: list[float],
) -> None:
    """Writes everything that a training needs to continue."""
    state = {f"weight/{name}": p for name, p in net.named_parameters()}
    for i, moments in optimizer.state_dict()["state"].items():
        state |= {
            f"optimizer/{i}/{name}": t for name, t in moments.items() if isinstance(t, Tensor)
        }
    state |= {f"generator/{name}": g.get_state() for name, g in generators.items()}
    state["losses"] = torch.tensor(losses, dtype=torch.float64)
    state["key"] = torch.tensor(list(key.encode()), dtype=torch.uint8)
    _store.write_tensors(home / runs.STATE, state)


def _resume(
    home: Path, key: str, net: Net, optimizer: torch.optim.Optimizer, generators: Mapping
) -> list[float]:
    """The losses so far, everything else restored; [] if there is nothing to continue from."""
    path = home / runs.STATE
    if not path.is_file():
        return []
    try:
        state, _ = _files.read_tensors(path)
        if bytes(state["key"].tolist()).decode() != key:
            return []
        missing = {"losses", *(f"generator/{name}" for name in generators)} - set(state)
        missing |= {f"weight/{name}" for name, _ in net.named_parameters()} - set(state)
        if missing:
            raise ValueError(f"{str(path)!r} has no {min(missing)}")
    except (ValueError, KeyError, TypeError) as error:
        warn(f"{_files.short_reason(error)}: the training starts again")
        return []

    def part(head):
        return {name.removeprefix(head): t for name, t in state.items() if name.startswith(head)}

    runs.put(net, part("weight/"))
    for name, generator in generators.items():
        generator.set_state(state[f"generator/{name}"])
    remembered: dict[int, dict[str, Tensor]] = {}
    for name, tensor in part("optimizer/").items():
        i, what = name.split("/", 1)
        remembered.setdefault(int(i), {})[what] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": remembered})
    return state["losses"].tolist()


# --- where and on what ----------------------------------------------------------------------------


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside: sums then have one order, and small models gain nothing from a second."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _source(recipe: Recipe) -> Any:
    """The data source of a recipe."""
    if not recipe.data:
        raise ValueError(
            f"{recipe.name!r} says no data (try data='repeated_tokens', or train(recipe,"
            " draw=my_function))"
        )
    return _made(recipe.data, json.dumps(recipe.data_options))


@cache
def _made(name: str, options: str) -> Any:
    """The source of this name and these options, made once."""
    from interp.toys import data

    return data.make(name, **json.loads(options))


def _options(recipe: Recipe, first: Any) -> dict[str, Any]:
    """The model's options; sizes that the recipe leaves out come from the data."""
    options = {"n_ctx": first.inputs.shape[1], **recipe.model}
    if recipe.data:
        options.setdefault("d_vocab", _source(recipe).d_vocab)
    if first.inputs.is_floating_point():
        options.setdefault("d_in", first.inputs.shape[-1])
    if "d_vocab" not in options:
        raise ValueError(
            f"{recipe.name!r} says no d_vocab: with batches of your own, put it in the recipe's"
            " model"
        )
    return options


def _tokens_of(recipe: Recipe, first: Any) -> dict[str, Any]:
    """The words of the tokens, and the token that begins every row, as far as there are any."""
    source = _source(recipe) if recipe.data else None
    words = [str(word) for word in getattr(source, "words", ())]
    start = first.inputs[:, 0]
    same = not first.inputs.is_floating_point() and bool((start == start[0]).all())
    return {"words": words, "bos": int(start[0]) if same else None}


def _shown(net: Net, show: Show, tokens: Mapping[str, Any]) -> Callable[[], dict[str, str]]:
    """A function that takes the measures for the bar, on a copy of the net with hooks."""
    if not show:
        return dict
    from interp.toys.model.transformer import wrapped

    copy = Net(net.spec)
    model = wrapped(copy, "training", tokens["words"], tokens["bos"])

    def take() -> dict[str, str]:
        runs.put(copy, dict(net.named_parameters()))
        return {
            name: f"{float(getattr(value, 'values', value)):.3g}"
            for name, value in ((n, m(model)) for n, m in show.items())
        }

    return take


def home_of(recipe: Recipe, key: str) -> Path:
    """The folder of a recipe's run in the cache."""
    return _store.cache_folder("toys", f"{recipe.name}-{key}")


def _home(recipe: Recipe, key: str, own_draw: bool, folder: str | Path | None) -> tuple[Path, Any]:
    """The run's folder, and the object that keeps it alive if it is temporary."""
    if folder is not None:
        return Path(folder).expanduser(), None
    if not own_draw:
        return home_of(recipe, key), None
    temporary = tempfile.TemporaryDirectory(prefix="interp-toy-")
    return Path(temporary.name), temporary
