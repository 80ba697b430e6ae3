"""Activations of a corpus, in memory or as shards on disk, resumed after an interruption."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp import _files, _store, texts
from interp._errors import listed, unknown
from interp._isolation import torch_defaults
from interp._types import Model
from interp._warn import warn
from interp.features import engine_values, site_values
from interp.features.sites import place, width
from interp.methods.runs.checkpoint import digest
from interp.methods.runs.sweep import progress
from interp.models import bridge
from interp.models.state import weights_hash

SCHEMA = 1
SHARD = 16_384  # tokens: 38 MB of SmolLM2's stream
MEMORY = 2e9  # bytes that are kept without a folder
PER_RUN = 1_024  # tokens in one forward pass
MANIFEST = "activations.json"
DTYPES = {"float32": torch.float32, "float16": torch.float16}


@dataclass(frozen=True, eq=False)
class Activations:
    """What a model computes at some sites on chunks of text: one vector per token, in text order.

    Example:
        >>> acts = features.activations(model, "resid_post.15", tokens=100_000)
        >>> acts.of()[:3]                  # [3 d]
        >>> acts.where(0)                  # the chunk and the position of the first row

    Attributes:
        sites: The addresses that were read.
        tokens: The token ids [chunk pos].
        skip: How many first positions of each chunk are left out (1: the attention sink).
        shards: Tensors [n d] by site, or the files that hold them.
        metadata: Model, corpus, number of tokens, length, skip, dtype and backend.
    """

    sites: tuple[str, ...]
    tokens: Int[Tensor, "chunk pos"]
    skip: int
    shards: tuple[Mapping[str, Tensor] | Path, ...]
    metadata: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.tokens) * (self.tokens.shape[1] - self.skip)

    def __repr__(self) -> str:
        return (
            f"Activations({', '.join(self.sites)}: {len(self):,} tokens of"
            f" {self.metadata.get('texts', 'tokens')}, {self.metadata.get('model')})"
        )

    def where(self, row: int) -> tuple[int, int]:
        """The chunk and the position of a row; positions are counted in the whole chunk."""
        chunk, pos = divmod(row, self.tokens.shape[1] - self.skip)
        return chunk, pos + self.skip

    def shard(self, number: int) -> dict[str, Float[Tensor, "n d"]]:
        """The vectors of one shard by site, in float32."""
        shard = self.shards[number]
        if isinstance(shard, Path):
            shard = _read(shard)
        return {site: shard[site].float() for site in self.sites}

    def only(self, sites: Sequence[str]) -> "Activations":
        """The activations of some of these sites; those of the others are kept in no memory.

        Example:
            >>> acts.only(["mlp.12.in", "mlp.12"]).of("mlp.12")
        """
        chosen = tuple(dict.fromkeys(str(place(site)) for site in sites))
        lacking = next((site for site in chosen if site not in self.sites), None)
        if lacking is not None:
            raise unknown("site of these activations", lacking, self.sites)
        return replace(self, sites=chosen)

    def of(self, site: str | None = None) -> Float[Tensor, "n d"]:
        """All vectors of one site as one tensor, in float32; the first site if none is named."""
        site = self.sites[0] if site is None else str(place(site))
        if site not in self.sites:
            raise unknown("site of these activations", site, self.sites)
        return torch.cat([self.shard(i)[site] for i in range(len(self.shards))])

    def part(self, first: int, last: int) -> "Activations":
        """The activations of chunks `first` up to, but not including, `last`, in memory."""
        per = self.tokens.shape[1] - self.skip
        if not 0 <= first < last <= len(self.tokens):
            raise ValueError(f"part({first}, {last}): there are chunks 0 to {len(self.tokens)}")
        vectors = {site: self.of(site)[first * per : last * per].clone() for site in self.sites}
        return Activations(
            self.sites,
            self.tokens[first:last],
            self.skip,
            (vectors,),
            {**self.metadata, "tokens": (last - first) * per},
        )

    def batches(
        self, size: int, *, seed: int = 0, start: int = 0, mix: int = 8
    ) -> Iterator[dict[str, Float[Tensor, "n d"]]]:
        """Batches of `size` vectors by site, without end; each pass has another order.

        The same seed gives the same batches. From disk, tokens are mixed within `mix` shards at a
        time; in memory, over the whole text.

        Args:
            size: Vectors in a batch.
            seed: Decides the order.
            start: How many batches are skipped first, to continue an interrupted run.
            mix: How many shards are mixed at a time.

        Raises:
            ValueError: If there are fewer vectors than one batch.
        """
        if len(self) < size:
            raise ValueError(
                f"{len(self):,} tokens are fewer than one batch of {size:,}: give a longer text, or"
                " a smaller batch"
            )
        yielded = epoch = 0
        pools: dict[tuple[int, ...], dict[str, Tensor]] = {}
        while True:
            g = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
            order = (
                torch.randperm(len(self.shards), generator=g).tolist()
                if isinstance(self.shards[0], Path)
                else range(len(self.shards))
            )
            step = mix if isinstance(self.shards[0], Path) else len(self.shards)
            remainder: dict[str, Tensor] = {}
            for first in range(0, len(order), step):
                group = tuple(order[first : first + step])
                if group not in pools:
                    parts = [self.shard(i) for i in group]
                    pools = {
                        group: {site: torch.cat([p[site] for p in parts]) for site in self.sites}
                    }
                pool = {
                    s: torch.cat([remainder[s], pools[group][s]]) if remainder else pools[group][s]
                    for s in self.sites
                }
                mixed = torch.randperm(len(pool[self.sites[0]]), generator=g)
                n_batches = len(mixed) // size
                for i in range(n_batches):
                    if yielded >= start:
                        yield {
                            site: value[mixed[i * size : (i + 1) * size]]
                            for site, value in pool.items()
                        }
                    yielded += 1
                remainder = {site: value[mixed[n_batches * size :]] for site, value in pool.items()}
            epoch += 1


@torch_defaults()
def activations(
    model: Model,
    site: str | Sequence[str],
    text: Any = None,
    *,
    tokens: int = 100_000,
    length: int = 128,
    split: str | None = "find",
    seed: int = 0,
    skip: int = 1,
    folder: str | Path | None = None,
    dtype: str = "float32",
    backend: str | None = None,
    engine: Any = None,
) -> Activations:
    """The activations of a text at one site, or at several sites on the same tokens.

    Example:
        >>> acts = features.activations(model, "resid_post.15", tokens=300_000, folder="acts")

    Args:
        model: Any loaded model. The forward pass ends at the last site that is read.
        site: One address or several, such as "resid_post.15", "mlp.10.in" or "L9H*.z" (all heads
            side by side).
        text: A corpus of `interp.texts` (its documentation if None), or token ids [chunk pos].
        tokens: How many tokens at most; `len(acts)` says how many there are.
        length: Tokens in a chunk of the corpus.
        split: Which half of the corpus is read: "find", "heldout", or None for all of it.
        seed: Decides which chunks are drawn.
        skip: How many positions are left out at each chunk's start. The default 1 leaves out the
            attention sink, whose norm is far larger than all others.
        folder: Where shards are written. The same call continues after an interruption; a damaged
            shard is named in a warning and computed again. `features.cache_folder` gives a folder
            in the user's cache, where several texts can share one name.
        dtype: How values are stored, "float32" or "float16".
        backend: "engine", "hooks", or None to choose.
        engine: The same model as the package interp-engine has loaded it (vLLM on GPUs), which then
            gives the activations: interp_engine.load_model("Qwen/Qwen3-8B"). Before, some tokens
            are read from both, and must be equal.

    Returns:
        `Activations`, one vector per token that is not skipped.

    Raises:
        ValueError: If more than 2 GB would be kept in memory, if a folder holds other activations,
            if values are not finite in this dtype, or if the engine gives other numbers.
    """
    where = tuple(str(place(s)) for s in ([site] if isinstance(site, str) else site))
    if dtype not in DTYPES:
        raise unknown("dtype of activations", dtype, DTYPES)
    ids, skip, metadata = chunks_of(model, text, tokens, length, split, seed, skip)
    dims = bridge.dims(model)
    per_token = sum(width(s, dims) for s in where) * DTYPES[dtype].itemsize
    total = len(ids) * (ids.shape[1] - skip)
    if folder is None and total * per_token > MEMORY:
        raise ValueError(
            f"{total:,} tokens at {', '.join(where)} take {total * per_token / 1e9:.1f} GB of"
            f" memory, more than {MEMORY / 1e9:.0f}: give folder=, dtype='float16', or fewer tokens"
        )
    if engine is not None:
        if backend is not None:
            raise ValueError(
                f"backend={backend!r} with engine=: activations come from a run here or from the"
                " engine; leave one of them out"
            )
        backend_used = engine_values.checked(engine, model, ids, where)
    else:
        by_hooks = backend == "hooks" or site_values.engine_for(model, where) is None
        backend_used = "hooks" if by_hooks else "engine"
    metadata |= {
        "model": bridge.name(model),
        "tokens": total,
        "length": ids.shape[1],
        "skip": skip,
        "dtype": dtype,
        "backend": backend_used,
    }
    if any(bridge.folded_norm(model, layer) for layer in _after_norms(where)):
        metadata["norm weights"] = "folded"
    size = max(1, SHARD // ids.shape[1])
    parts = [ids[i : i + size] for i in range(0, len(ids), size)]
    with progress(None, "activations", total=ids.numel()) as bar:

        def make(part):
            return _made(model, part, where, skip, DTYPES[dtype], backend, bar, engine)

        if folder is None:
            shards: list[Any] = [make(part) for part in parts]
        else:
            of = {
                "model": bridge.name(model),
                "weights": weights_hash(model),
                "tokens": digest(ids),
                "sites": list(where),
                "skip": skip,
                "dtype": dtype,
                **({} if engine is None else {"engine": backend_used}),
            }
            shards = _on_disk(_home(Path(folder), of), parts, make, of, bar)
    return Activations(where, ids, skip, tuple(shards), metadata)


def _after_norms(where: Sequence[str]) -> set[int]:
    """The layers of which something after the weights of the MLP's norm is read."""
    some = (place(site) for site in where)
    return {int(site.layer) for site in some if site.part == "module_in" and site.layer is not None}


def chunks_of(
    model: Model | None,
    text: Any,
    tokens: int,
    length: int,
    split: str | None,
    seed: int,
    skip: int = 1,
) -> tuple[Int[Tensor, "chunk pos"], int, dict[str, Any]]:
    """The token ids to read, how many first positions are left out, and metadata."""
    if isinstance(text, Activations):
        facts = {
            k: v for k, v in text.metadata.items() if k in ("texts", "fingerprint", "split", "seed")
        }
        return text.tokens[: -(-tokens // (text.tokens.shape[1] - text.skip))], text.skip, facts
    if not 0 <= skip < length:
        raise ValueError(
            f"skip={skip}: of chunks of {length} tokens, 0 to {length - 1} can be left out"
        )
    if isinstance(text, Tensor):
        if text.ndim != 2 or text.is_floating_point() or text.shape[1] <= skip or not len(text):
            raise ValueError(
                f"tokens are ids [chunk pos] with more than {skip} positions, got {text.dtype}"
                f" {tuple(text.shape)}"
            )
        return text, skip, {"texts": "tokens"}
    if tokens < 1:
        raise ValueError(f"tokens={tokens}: at least one is needed")
    corpus = texts.documentation() if text is None else text
    ids = texts.chunks(model, corpus, length=length, split=split)
    order = torch.randperm(
        len(ids), generator=torch.Generator().manual_seed(seed)
    )  # a shard should hold of everything
    ids = ids[order[: -(-tokens // (length - skip))]]
    return (
        ids,
        skip,
        {"texts": corpus.name, "fingerprint": corpus.fingerprint, "split": split, "seed": seed},
    )


def _made(
    model: Model,
    ids: Tensor,
    where: Sequence[str],
    skip: int,
    dtype: torch.dtype,
    backend: str | None,
    bar: Any,
    engine: Any = None,
) -> dict[str, Tensor]:
    """The vectors of some chunks, by site [n d]."""
    parts: dict[str, list[Tensor]] = {site: [] for site in where}
    # a scheduler behind an engine runs many prompts side by side
    many = engine is not None and engine.describe().backend != "eager"
    chunks_per_run = max(1, (SHARD if many else PER_RUN) // ids.shape[1])
    for first in range(0, len(ids), chunks_per_run):
        chunks = ids[first : first + chunks_per_run]
        if engine is None:
            found = site_values.values(model, chunks, where, backend)
        else:
            found = engine_values.values(engine, chunks, where, bridge.dims(model))
        for site, value in found.items():
            value = value.to(bridge.device(model))
            parts[site].append(value[:, skip:].flatten(0, 1).to(dtype))
        bar.update(chunks.numel())
    vectors = {site: torch.cat(values) for site, values in parts.items()}
    wrong = next((site for site, value in vectors.items() if not torch.isfinite(value).all()), None)
    if wrong is not None:
        raise ValueError(
            f"activations at {wrong!r} are not finite in {str(dtype).removeprefix('torch.')}: use"
            " dtype='float32'"
        )
    return vectors


# --- on disk --------------------------------------------------------------------------------------


def _home(folder: Path, of: Mapping[str, Any]) -> Path:
    """The folder itself; in the user's cache (`cache_folder`) a folder inside it for these tokens,
    because installed texts change.
    """
    cached = folder.is_relative_to(_store.cache_folder("features"))
    return folder / _store.key(of, 12) if cached else folder


def _on_disk(
    folder: Path, parts: Sequence[Tensor], make: Any, of: Mapping[str, Any], bar: Any
) -> list[Path]:
    """The paths of all shards; those that are missing or damaged are computed and written."""
    from safetensors.torch import save

    sums = _sums(folder, of)
    paths = [folder / f"shard-{i:05d}.safetensors" for i in range(len(parts))]
    for path, part in zip(paths, parts):
        if path.name in sums and path.is_file():
            if hashlib.sha256(path.read_bytes()).hexdigest() == sums[path.name]:
                bar.update(part.numel())
                continue
            warn(f"{path.name} in {str(folder)!r} is not what was written: it is made again")
        content = save({site: value.cpu() for site, value in make(part).items()})
        _store.write_bytes(path, content)
        sums[path.name] = hashlib.sha256(content).hexdigest()
        _store.write_text(
            folder / MANIFEST, json.dumps({"schema": SCHEMA, "of": of, "sha256": sums}, indent=1)
        )
    return paths


def _sums(folder: Path, of: Mapping[str, Any]) -> dict[str, str]:
    """The checksums of the shards in a folder; a ValueError if the folder holds something else."""
    manifest, advice = folder / MANIFEST, "give another folder, or delete this one to start again"
    if not manifest.exists():
        if folder.is_dir() and any(folder.glob("shard-*")):
            raise ValueError(f"{str(folder)!r} holds shards but no {MANIFEST}: {advice}")
        return {}
    content = _files.read_json(manifest, "the list of these shards")
    recorded = content.get("of") if isinstance(content, dict) else None
    sums = content.get("sha256") if isinstance(content, dict) else None
    hashes = isinstance(sums, dict) and all(isinstance(h, str) for h in sums.values())
    if not isinstance(recorded, dict) or not hashes:
        raise ValueError(f"{str(manifest)!r} does not list shards with their hashes: {advice}")
    other = [name for name in of if recorded.get(name) != of[name]]
    if other or content.get("schema") != SCHEMA:
        raise ValueError(
            f"{str(folder)!r} holds other activations, with other {listed(other) or 'schema'}:"
            f" {advice}"
        )
    return sums


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of one shard file."""
    try:
        return _files.read_tensors(path)[0]
    except (ValueError, OSError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read ({error}): the same call of features.activations makes"
            " it again"
        ) from None
