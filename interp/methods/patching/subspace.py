"""A subspace of one site: the part of an activation that an interchange swaps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from interp import _files, _store, sites
from interp._numbers import to_numpy
from interp._types import Model
from interp.edits import Edit, Seen, set_to
from interp.interventions import Intervention
from interp.methods.lenses.tuned_lens import fingerprint
from interp.methods.steering.direction import width
from interp.models import bridge
from interp.results import Result
from interp.sites import Site

ENDING = ".safetensors"
TOLERANCE = 1e-3  # of the products of columns that should be 0 or 1


def _tensor(basis: Any) -> Tensor:
    """The basis as a tensor: one stays where it is, anything else is made on the CPU."""
    return basis if isinstance(basis, Tensor) else torch.as_tensor(basis, device="cpu")


@dataclass(frozen=True, eq=False)
class Subspace:
    """Some directions of one site, orthonormal: what of the activation there is swapped.

    Example:
        >>> space = interp.align(model, find, "resid_post.15@END", k=8)
        >>> interp.interchange(model, judge, subspace=space)
        >>> space.save("position.safetensors"); Subspace.load("position.safetensors")
        >>> Subspace(torch.eye(576)[:, :8], "resid_post.15@END")        # written by hand

    Attributes:
        basis: Orthonormal columns.
        site: One address. Without a position it means every position.
        fingerprint: Of the weights of the model that it belongs to; "" where it was written by
            hand.
        curve: The loss by step of the fit, in nats, and those of its controls; None without a fit.
        controls: Bases that were fitted in the same way where there is nothing to find: "labels at
            random", and "random weights" (in a model with random weights).
        metadata: How it was found; metadata["pairs"] are those that it was fitted to.
    """

    basis: Float[Tensor, "d k"]
    site: str
    fingerprint: str = ""
    curve: Result | None = None
    controls: Mapping[str, Float[Tensor, "d k2"]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        site = Site.parse(self.site)
        if site.stars:
            raise ValueError(
                f"a subspace belongs to one place, {self.site!r} is many (try 'resid_post.15@END')"
            )
        object.__setattr__(self, "site", str(site))
        object.__setattr__(self, "basis", _tensor(self.basis).float())
        d, k = self.basis.shape
        if not 1 <= k <= d:
            raise ValueError(
                f"a basis [d k] has 1 to d columns, got {k} of {d} numbers each: directions stand "
                "in columns"
            )
        off = (self.basis.T @ self.basis - torch.eye(k, device="cpu").to(self.basis)).abs().max()
        if not float(off) < TOLERANCE:
            raise ValueError(
                f"the columns of a basis are orthonormal, and these are off by {float(off):.2g}: "
                "torch.linalg.qr(basis).Q makes them so"
            )

    @property
    def k(self) -> int:
        """How many dimensions it has."""
        return self.basis.shape[1]

    def part(self, value: Float[Tensor, "*more d"]) -> Float[Tensor, "*more d"]:
        """The part of an activation that lies in the subspace."""
        basis = self.basis.to(value.device)
        return ((value.float() @ basis) @ basis.T).to(value.dtype)

    def edit(self, source: Float[Tensor, "*more d"]) -> Edit:
        """An edit that gives an activation the source's part in the subspace, and leaves the rest.

        Example:
            >>> other = interp.run(model, task.corrupted, keep=["resid_post.15@END"]).kept
            >>> Intervention(space.site, space.edit(other[space.site]))
        """

        def edit(act: Tensor, seen: Seen) -> Tensor:
            whole = set_to(source)(act, seen)
            return act + self.part(whole - act)

        return edit

    def swap(self, source: Float[Tensor, "*more d"]) -> Intervention:
        """The intervention that swaps in the source's part, for `run` and `effect`."""
        return Intervention(self.site, self.edit(source))

    def angles(self, other: "Subspace | Float[Tensor, 'd k2']") -> np.ndarray:
        """The principal angles between two subspaces in degrees, the smallest first.

        Example:
            >>> space.angles(truth).max() < 5          # the same space
        """
        from scipy.linalg import subspace_angles

        basis = other.basis if isinstance(other, Subspace) else _tensor(other)
        if len(basis) != len(self.basis):
            raise ValueError(
                f"there is no angle between {len(self.basis)} and {len(basis)} numbers a direction"
            )
        one, two = (to_numpy(b.double()) for b in (self.basis, basis))
        return np.sort(np.degrees(subspace_angles(one, two)))

    def check(self, model: Model) -> None:
        """Raises ValueError unless the subspace fits this model."""
        site, d = Site.parse(self.site), bridge.dims(model)
        fits = width(sites.check(site, d), d)
        if len(self.basis) != fits:
            raise ValueError(
                f"the subspace has directions of {len(self.basis)} numbers, {self.site!r} of "
                f"{bridge.name(model)} has {fits}"
            )
        if self.fingerprint and self.fingerprint != fingerprint(model):
            found_in = self.metadata.get("model", "another model")
            now = " (with other weights than now)" if found_in == bridge.name(model) else ""
            raise ValueError(
                f"this subspace was found in {found_in!r}{now} and means nothing in "
                f"{bridge.name(model)!r}: find it there, interp.align(model, task, {self.site!r})"
            )

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """The Axes with the loss by step, of the fit and of its controls, each a running mean (a
        step's own loss is that of a few prompts, and jumps); `curve` has every step.
        """
        if self.curve is None:
            raise ValueError("a subspace written by hand has no training curve")
        steps = self.curve.values.shape[1]
        window = max(1, steps // 10)
        summed = np.cumsum(np.pad(self.curve.values, ((0, 0), (1, 0))), axis=1)
        ends = np.arange(1, steps + 1)
        starts = np.maximum(0, ends - window)
        means = (summed[:, ends] - summed[:, starts]) / (ends - starts)
        name = f"{self.curve.name}, running mean of {window} steps"
        return replace(self.curve, values=means, name=name).plot(ax=ax, **options)

    def __repr__(self) -> str:
        how = self.metadata.get("kind", "by hand")
        fit = self.metadata.get("accuracy on the pairs of the fit")
        said = "" if fit is None else f", {fit:.2f} on the pairs of the fit"
        return f"Subspace({how}, {self.k} of {len(self.basis)} dimensions at {self.site}{said})"

    # --- as a file --------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """The path of the .safetensors file that holds everything but nothing to run."""
        path = _path(path)
        tensors = {"basis": self.basis}
        tensors |= {f"control {name}": basis for name, basis in self.controls.items()}
        about: dict[str, Any] = {"site": self.site, "fingerprint": self.fingerprint}
        if self.curve is not None:
            tensors["curve"] = torch.as_tensor(self.curve.values)
            about["fits"] = list(self.curve.coords["fit"])
        about["metadata"] = self.metadata
        return _store.write_tensors(path, tensors, {"subspace": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> "Subspace":
        """The subspace that `save` wrote.

        Raises:
            ValueError: If the file holds something else.
            FileNotFoundError: If there is none.
        """
        tensors, head = _files.read_tensors(_path(path))
        other = _files.headed(head) if "subspace" not in head else ""
        what = f"{str(path)!r} is no subspace saved by Subspace.save{other}"
        try:
            about = json.loads(head["subspace"])
            site, mark, metadata = about["site"], about["fingerprint"], about["metadata"]
        except (KeyError, TypeError, ValueError):
            raise ValueError(what) from None
        _files.shaped(tensors, "basis", (None, None), path)
        d = len(tensors["basis"])
        controls = {}
        for name in tensors:
            if name.startswith("control "):
                controls[name.removeprefix("control ")] = _files.shaped(
                    tensors, name, (d, None), path
                )
        curve = None
        if "curve" in tensors:
            fits = about.get("fits", [])
            curve = loss_curve(
                to_numpy(_files.shaped(tensors, "curve", (len(fits), None), path)), fits
            )
        return cls(tensors["basis"], site, mark, curve, controls, metadata)


def loss_curve(values: np.ndarray, fits: list[str]) -> Result:
    """The losses of some fits by step as a Result."""
    coords = {"fit": fits, "step": list(range(1, values.shape[1] + 1))}
    return Result(values, ("fit", "step"), coords, "loss of the answer after the swap", "nats")


def _path(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ENDING:
        raise ValueError(
            f"a subspace is saved as {ENDING}, got {str(path)!r} (try {path.stem + ENDING!r})"
        )
    return path
