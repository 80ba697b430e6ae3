"""The trainer: the same bits each time, also after an interruption; runs are found again by their
recipe.
"""

import json

import numpy as np
import pytest
import torch

import interp
from interp import toys
from interp.toys.data import Batch
from interp.toys.training import runs, train
from interp.toys.training.recipe import from_json

TINY = dict(
    data="repeated_tokens",
    data_options={"vocab": 12, "n_ctx": 10},
    model={"n_layers": 1, "d_model": 16},
    steps=12,
    batch=4,
    checkpoints=5,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("INTERP_PROGRESS", "0")


def bigram(n, generator):
    """Tokens that count on by one or two, from anywhere."""
    start, by = (torch.randint(*ends, (n, 1), generator=generator) for ends in ((0, 8), (1, 3)))
    rows = (start + by * torch.arange(7)) % 8
    return Batch(rows[:, :-1], rows[:, 1:])


OWN = toys.Recipe(
    "own", model={"d_vocab": 8, "n_layers": 1, "d_model": 16}, steps=12, batch=4, checkpoints=5
)


def same(a, b):
    return set(a) == set(b) and all(torch.equal(a[name], b[name]) for name in a)


# --- the same bits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"optimizer": "sgd", "momentum": 0.9},
        {"z_loss": 0.01, "clip": 0.5, "schedule": "cosine", "warmup": 3},
    ],
)
def test_two_runs_of_a_recipe_are_equal_bit_for_bit(tmp_path, changes):
    recipe = OWN.but(**changes)
    a, b = (toys.train(recipe, draw=bigram, folder=tmp_path / name) for name in "ab")
    assert same(a.weights(), b.weights()) and np.array_equal(a.losses, b.losses)
    c = toys.train(recipe.but(seed=1), draw=bigram)
    assert not same(a.weights(), c.weights()) and not same(a.weights(0), c.weights(0))
    assert a.losses[-1] < a.losses[0]


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "sgd", "momentum": 0.9}, {"forget_every": 3}]
)
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path, monkeypatch, changes, stop):
    monkeypatch.setattr(train, "SAVE_EVERY", -1.0)  # after every step
    recipe, asked = OWN.but(**changes), []

    def until(n, generator):
        asked.append(n)
        if len(asked) == stop + 2:  # the first batch is drawn to see what the data is like
            raise KeyboardInterrupt
        return bigram(n, generator)

    with pytest.raises(KeyboardInterrupt):
        toys.train(recipe, draw=until, folder=tmp_path / "a")
    assert runs.opened(tmp_path / "a") is None  # what is unfinished is no run
    before = len(asked)
    again = toys.train(recipe, draw=until, folder=tmp_path / "a")
    assert len(asked) - before == 1 + 12 - stop  # the steps that were done are not done again
    whole = toys.train(recipe, draw=bigram, folder=tmp_path / "b")
    assert np.array_equal(again.losses, whole.losses)
    assert all(same(again.weights(s), whole.weights(s)) for s in whole.steps)
    assert not (tmp_path / "a" / runs.STATE).exists()


def test_the_trainer_is_a_plain_loop(tmp_path):
    """The definition, written out: whatever the trainer adds, it changes no number."""
    recipe = OWN.but(weight_decay=0.1, warmup=4)
    run = toys.train(recipe, draw=bigram)
    with train.one_thread():
        net, data = run.net(0), recipe.generator("data")
        optimizer = torch.optim.AdamW(net.parameters(), lr=recipe.lr, weight_decay=0.1, fused=True)
        losses = []
        for step in range(12):
            optimizer.param_groups[0]["lr"] = recipe.lr * min(1, (step + 1) / 4)
            batch = bigram(4, data)
            loss = torch.nn.functional.cross_entropy(
                net(batch.inputs).flatten(0, 1), batch.targets.flatten()
            )
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert losses == run.losses.tolist()
    assert same(dict(net.named_parameters()), run.weights())


def test_places_without_a_target_take_no_loss():
    batch = bigram(4, torch.Generator().manual_seed(0))
    some = batch.targets.clone()
    some[:, ::2] = -100
    net = toys.net(d_vocab=8, n_layers=1, d_model=16)
    each = torch.nn.functional.cross_entropy(
        net(batch.inputs).transpose(1, 2), batch.targets, reduction="none"
    )
    torch.testing.assert_close(train.loss(net, Batch(batch.inputs, some))[0], each[:, 1::2].mean())
    torch.testing.assert_close(train.loss(net, batch)[0], each.mean())


def test_threads_are_given_back():
    before = torch.get_num_threads()
    toys.train(OWN.but(steps=1), draw=bigram)
    assert torch.get_num_threads() == before


# --- runs and their recipes -----------------------------------------------------------------------


def test_a_run_is_found_by_its_recipe(monkeypatch):
    recipe = toys.Recipe("tiny", **TINY)
    run = toys.train(recipe)
    fits = []
    monkeypatch.setattr(train, "_fit", lambda *args: fits.append(1))
    again = toys.train(recipe)
    assert not fits and again.folder == run.folder and same(again.weights(), run.weights())
    assert again.recipe == recipe and again.steps == run.steps
    for change in (
        {"lr": 2e-3},
        {"seed": 1},
        {"model": {"n_heads": 2}},
        {"data_options": {"vocab": 13}},
    ):
        assert train.cached_run(recipe.but(**change)) is None


def test_a_run_of_other_data_or_other_weights_is_another_run(monkeypatch):
    recipe = toys.Recipe("tiny", **TINY)
    toys.train(recipe)
    assert train.cached_run(recipe) is not None
    draw = train.Net._draw
    monkeypatch.setattr(
        train.Net, "_draw", lambda self, g: (draw(self, g), self.embed.weight.data.mul_(2))
    )
    assert train.cached_run(recipe) is None


def test_a_damaged_run_is_made_anew():
    run = toys.train(toys.Recipe("tiny", **TINY))
    last = runs.checkpoint(run.folder, 12)
    last.write_bytes(last.read_bytes()[:100])
    assert train.cached_run(run.recipe) is None
    assert same(toys.train(run.recipe).weights(), run.weights())


def test_a_run_of_a_function_is_kept_where_it_is_told_alone(tmp_path):
    here, nowhere = (
        toys.train(OWN, draw=bigram, folder=tmp_path / "here"),
        toys.train(OWN, draw=bigram),
    )
    assert (tmp_path / "here" / runs.DONE).exists() and not (tmp_path / "cache").exists()
    assert nowhere.folder != here.folder and same(nowhere.weights(), here.weights())


def test_a_recipe_is_plain_values():
    recipe = toys.Recipe("tiny", **TINY, forget_every=3, forget_rows=(0, 5))
    assert (
        from_json(recipe.to_json()) == recipe == from_json(json.dumps(json.loads(recipe.to_json())))
    )
    assert recipe.but(model={"mlp": 8}).model == {"n_layers": 1, "d_model": 16, "mlp": 8}
    steps = toys.Recipe("x", steps=1000, checkpoints=8).checkpoint_steps()
    assert steps[0] == 0 and steps[1] == 1 and steps[-1] == 1000 and len(steps) == 8
    ratios = np.diff(np.log(steps[1:]))
    assert ratios.max() / ratios.min() < 1.6


def test_rates_rise_and_fall():
    def rate(step, **how):
        return toys.Recipe("x", steps=100, **how).factor(step)

    assert [rate(s, warmup=4) for s in (0, 1, 3, 4, 99)] == [0.25, 0.5, 1, 1, 1]
    assert [rate(s, schedule="linear", warmup=50) for s in (49, 50, 75)] == [1, 1, 0.5]
    assert rate(0, schedule="cosine") == pytest.approx(1) and rate(
        50, schedule="cosine"
    ) == pytest.approx(0.5)


@pytest.mark.slow
def test_seeds_side_by_side_are_the_seeds_one_by_one(tmp_path, monkeypatch):
    recipe = toys.Recipe("tiny", **TINY)
    side = toys.train_seeds(recipe, [0, 3])
    monkeypatch.setenv("INTERP_CACHE", str(tmp_path / "other"))
    alone = toys.train_seeds(recipe, [0, 3], processes=1)
    assert [run.recipe.seed for run in side] == [0, 3]
    assert all(same(a.weights(), b.weights()) and a.folder != b.folder for a, b in zip(side, alone))


# --- forgetting -----------------------------------------------------------------------------------


def test_embeddings_are_drawn_anew_when_and_where_it_is_said():
    recipe = OWN.but(
        lr=1e-9,
        optimizer="sgd",
        checkpoints=list(range(13)),
        forget_every=4,
        forget_until=8,
        forget_rows=[2, 5],
    )
    run = toys.train(recipe, draw=bigram)
    weights = [run.weights(step)["embed.weight"] for step in range(13)]
    moved = [
        [bool((a - b).abs().max() > 1e-3) for a, b in zip(x, y)]
        for x, y in zip(weights, weights[1:])
    ]
    only = [2 <= row < 5 for row in range(8)]
    assert moved == [
        only if step in (4, 8) else [False] * 8 for step in range(1, 13)
    ]  # not at 12, past the last one
    assert weights[12][2:5].std() == pytest.approx(
        0.25, rel=0.4
    )  # as wide as at first: 1 / sqrt(16)
    other = run.weights(12)
    assert torch.allclose(
        other["blocks.0.attn.q.weight"], run.weights(0)["blocks.0.attn.q.weight"], atol=1e-6
    )


# --- what goes wrong ------------------------------------------------------------------------------


def test_divergence_stops_with_the_step_and_what_to_try(tmp_path):
    with pytest.raises(
        ValueError,
        match=(
            r"own: the loss is .* at step \d+ and was .* diverged; try a smaller lr than 1e\+06,"
            r" warmup=100, or clip"
        ),
    ):
        toys.train(
            OWN.but(optimizer="sgd", lr=1e6, model={"norm": "none"}),
            draw=bigram,
            folder=tmp_path / "a",
        )
    assert runs.opened(tmp_path / "a") is None


def test_weights_that_are_no_numbers_are_no_checkpoint():
    with pytest.raises(ValueError, match="diverged|not finite"):
        toys.train(OWN.but(steps=1, optimizer="sgd", lr=1e42), draw=bigram)


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda: toys.load_or_train("inductoin"), "did you mean 'induction'"),
        (lambda: toys.load_or_train("induction", step=3), "did you mean 'steps'"),
        (lambda: toys.Recipe("x", optimizer="adamx"), "'adam' or 'adamw'"),
        (lambda: toys.Recipe("x", steps=0), "a whole number from 1 on"),
        (lambda: toys.Recipe("a/b"), "a plain word"),
        (lambda: toys.Recipe("x", model={"act": torch.relu}), "plain values"),
        (lambda: toys.Recipe("x", forget_until=3), "needs forget_every"),
        (lambda: toys.train(toys.Recipe("x")), "says no data"),
        (lambda: toys.train(toys.Recipe("x", steps=1), draw=bigram), "says no d_vocab"),
        (
            lambda: toys.train(toys.Recipe("x", **TINY).but(data="repeated")),
            "did you mean 'repeated_tokens'",
        ),
        (
            lambda: toys.train(
                OWN, draw=lambda n, g: Batch(bigram(n, g).inputs, torch.full((n, 6), -100))
            ),
            "a target that is not -100",
        ),
        (lambda: toys.train_seeds("induction", [0, 0]), "different seeds"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(call, says):
    with pytest.raises(ValueError, match=says):
        call()


# --- measures over training -----------------------------------------------------------------------


@pytest.fixture
def run():
    return toys.train(toys.Recipe("tiny", **TINY))


def test_measures_see_each_checkpoint(run):
    batch = run.source.batch(16, torch.Generator().manual_seed(0), split="heldout")
    found = toys.over_training(run, toys.loss_on(batch, ["repeat"]))
    assert found.dims == ("step", "slice") and found.coords["step"] == list(run.steps)
    assert found.coords["slice"] == ["repeat", "not repeat"]
    for step in (0, 12):
        with torch.no_grad():
            each = torch.nn.functional.cross_entropy(
                run.net(step)(batch.inputs).transpose(1, 2), batch.targets, reduction="none"
            )
        expected = float(each[batch.labels["repeat"]].mean())
        assert float(found.sel(step=step, slice="repeat").values) == pytest.approx(
            expected, rel=1e-5
        )
    found.plot()


def test_any_function_of_the_model_is_a_measure(run):
    def size(model):
        return float(model.blocks[0].attn.W_Q.norm())

    found = toys.over_training(run, size, steps=[0, 12], name="size", unit="norm")
    assert found.values.tolist() == pytest.approx(
        [float(run.weights(s)["blocks.0.attn.q.weight"].norm()) for s in (0, 12)]
    )
    words = toys.over_training(run, lambda model: {"a": 1.0, "b": size(model)})
    assert words.dims == ("step", "measure") and words.sel(measure="b").values[0] == pytest.approx(
        found.values[0]
    )
    task = interp.tasks.induction(run.model(), n=4, length=4)
    heads = toys.over_training(run, lambda model: interp.ablate(model, task, "L*H*"), steps=[0, 12])
    assert heads.dims == ("step", "layer", "head")
    assert heads.sel(step=12).values == pytest.approx(
        interp.ablate(run.model(), task, "L*H*").values, abs=1e-6
    )


def test_seeds_are_an_axis(run):
    other = toys.train(run.recipe.but(seed=1))

    def size(model):
        return float(model.blocks[0].attn.W_Q.norm())

    both = toys.over_training([run, other], size)
    assert both.dims == ("seed", "step") and both.coords["seed"] == [0, 1]
    assert both.sel(seed=1).values == pytest.approx(toys.over_training(other, size).values)
    with pytest.raises(ValueError, match="differ in their seed alone"):
        toys.over_training([run, toys.train(run.recipe.but(lr=2e-3))], size)
    with pytest.raises(ValueError, match="the nearest one is at 12"):
        toys.over_training(run, size, steps=[11])


def test_measures_are_shown_while_training(tmp_path):
    seen = []
    toys.train(
        OWN,
        draw=bigram,
        show={
            "size": lambda model: seen.append(float(model.blocks[0].attn.W_Q.norm())) or seen[-1]
        },
    )
    plain = toys.train(OWN, draw=bigram)
    expected = [float(plain.weights(s)["blocks.0.attn.q.weight"].norm()) for s in plain.steps[1:]]
    assert seen == pytest.approx(expected)
