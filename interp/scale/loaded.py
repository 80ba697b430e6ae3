"""A model that is loaded once in each process, however many points the process runs."""

from typing import Any

_HERE: dict[str, Any] = {}  # the last model that this process loaded by this door


def loaded(name: str, **options: Any) -> Any:
    """The model of this name, loaded the first time that this process asks for it.

    A function that `interp.over` runs on several processes asks for its model here: it is loaded
    once in each process, and not once a point. The last model is kept, and no other.

    Example:
        >>> def score(task, seed):
        ...     model = interp.scale.loaded("smollm2-135m")
        ...     prompts = getattr(interp.tasks, task)(model, n=16, seed=seed)
        ...     return interp.ablate(model, prompts, ["L10H7"])

    Args:
        name: A name, a folder or a Hugging Face id, as `interp.load` takes it.
        **options: Of `interp.load`: dtype, device and so on.

    Returns:
        The model. It is shared by all points of the process: do not train or edit it.

    Raises:
        ValueError: As `interp.load`.
    """
    from interp.models.loading import load

    asked = repr((name, sorted(options.items())))
    if asked not in _HERE:
        _HERE.clear()  # the old model goes before the new one comes
        _HERE[asked] = load(name, **{"progress": False, **options})
    return _HERE[asked]
