"""The recipes that have a name."""

from interp._errors import unknown
from interp.toys.training.recipe import Recipe

RECIPES = {
    recipe.name: recipe
    for recipe in (
        # A previous-token head below, induction heads above (Olsson et al. 2022). With learned
        # positions two layers do
        # the task by other means: no head of theirs looks one back.
        Recipe(
            "induction",
            data="repeated_tokens",
            data_options={"vocab": 32, "n_ctx": 32},
            model={"n_layers": 2, "n_heads": 2, "d_model": 64, "positions": "rotary"},
            steps=700,
            batch=32,
            lr=3e-3,
            warmup=50,
        ),
        # Four layers with MLPs, on words of the documentation among blocks that come again: one
        # minute of one core. Many of its heads share the work: none is an induction head by itself.
        Recipe(
            "induction in text",
            data="text_with_repeats",
            data_options={"vocab": 150, "n_ctx": 32, "repeats": 0.75, "shortest": 2, "longest": 8},
            model={"n_layers": 4, "n_heads": 2, "d_model": 64, "mlp": 256, "positions": "rotary"},
            steps=1700,
            batch=32,
            lr=4e-3,
            warmup=100,
            schedule="linear",
        ),
    )
}


def named(recipe: str | Recipe) -> Recipe:
    """The recipe of this name, or the recipe itself."""
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise unknown("recipe", recipe, RECIPES, "toys.load_or_train('induction')")
    return RECIPES[recipe]
