"""The contract of every verb and the patching benchmark on a real accelerator.

    python benchmarks/gpu_contract.py                       # on "cuda", under four minutes
    python benchmarks/gpu_contract.py --out table.md        # and put the tables into a file
    python benchmarks/gpu_contract.py --device cpu --small  # does the script itself run?

It needs no network and no model from disk: all weights are random. Three tables are printed.

1. Patching a Llama of the 1B shape (16 layers, d_model 2048, 32 heads on 8 KV heads, d_mlp 8192,
   128,256 tokens) side by side with TransformerLens' `patching.generic_activation_patch`, which
   runs a whole forward pass for each cell; its time is taken on a sample of cells and multiplied.
   In float32 the two numbers of every sampled cell are compared; in bfloat16 the difference is
   rounding, and is printed.
2. Every verb of the tests' table on the tiny Llama: on the device in float32 against the CPU.
3. The same in bfloat16 and float16, with the largest difference from float32 on the CPU.

What is missing on the machine (sae-lens, anywidget) skips the calls that need it, by name.
"""

import argparse
import os
import platform
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
os.environ |= {"INTERP_PROGRESS": "0", "TQDM_DISABLE": "1"}
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / part) for part in ("", "tests", "tests/contracts")]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402

import interp  # noqa: E402

SWEEPS = {  # what a user types here, TransformerLens' patch setter and activation, its index
    "heads": ("L*H*", "layer_head_vector_patch_setter", "z", ("layer", "head")),
    "residual stream by position": (
        "resid_pre.*@*",
        "layer_pos_patch_setter",
        "resid_pre",
        ("layer", "pos"),
    ),
    "MLP output by position": ("mlp.*@*", "layer_pos_patch_setter", "mlp_out", ("layer", "pos")),
    "heads by position": (
        "L*H*@*",
        "layer_pos_head_vector_patch_setter",
        "z",
        ("layer", "pos", "head"),
    ),
}
SAMPLE = 48  # cells of TransformerLens' sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=210.0, help="start nothing new after this")
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--small", action="store_true", help="a Llama of four narrow layers")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    began = time.perf_counter()
    if given.device == "cpu":
        torch.set_num_threads(1)
    lines: list[str] = []

    def say(text: str = "") -> None:
        print(text, flush=True)
        lines.append(text)
        if given.out:
            given.out.write_text("\n".join(lines) + "\n")

    say(machine(given.device))
    for part in (patching, contract):
        try:
            part(given, began, say)
        except Exception:
            say(f"\n{part.__name__} broke off:\n```\n{traceback.format_exc()}```")
    say(f"\nAll in {time.perf_counter() - began:.0f} s.")


def machine(device: str) -> str:
    """The accelerator and the versions."""
    name = torch.cuda.get_device_name(0) if device.startswith("cuda") else platform.processor()
    packages = []
    for package in ("torch", "transformers", "transformer-lens"):
        try:
            packages.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            packages.append(f"{package} missing")
    return f"{name}; Python {platform.python_version()}, {', '.join(packages)}"


def wait(device: str) -> None:
    """Returns when the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(device: str, job: Callable[[], Any]) -> tuple[float, Any]:
    """How long a job takes, and what it gives."""
    wait(device)
    began = time.perf_counter()
    value = job()
    wait(device)
    return time.perf_counter() - began, value


# --- the patching benchmark -----------------------------------------------------------------------


def llama(device: str, dtype: str, small: bool) -> Any:
    """A random Llama, made on the device."""
    from transformers import LlamaConfig, LlamaForCausalLM

    from interp.models.tiny_models import word_tokenizer

    tokenizer = word_tokenizer()
    shape = (
        dict(hidden_size=64, intermediate_size=128, num_hidden_layers=4, num_attention_heads=4)
        | dict(num_key_value_heads=2, vocab_size=len(tokenizer))
        if small
        else dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16)
        | dict(num_attention_heads=32, num_key_value_heads=8, vocab_size=128_256)
    )
    config = LlamaConfig(
        **shape,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        attn_implementation="eager",
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    config._name_or_path = "random Llama"
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    try:
        torch.set_default_dtype(getattr(torch, dtype))
        with torch.device(device):
            net = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():  # logits that differ: a fresh model predicts all tokens alike
        net.model.norm.weight.fill_(4.0)
    return interp.load(net.eval(), tokenizer=tokenizer, progress=False)


def patching(given: Any, began: float, say: Callable[[str], None]) -> None:
    """The table of sweeps."""
    device = given.device
    say("\n## Activation patching beside TransformerLens\n")
    say("| type | sweep | cells | TransformerLens, s | interp, s | ratio | backend | difference |")
    say("|---|---|---|---|---|---|---|---|")
    for dtype in ("float32", "bfloat16"):
        model = llama(device, dtype, given.small)
        task = interp.tasks.ioi(model, n=given.prompts)
        why = interp.engine.why_not(model)
        if why:
            say(f"\nNo engine for {dtype}: {why}\n")
        interp.patch(model, task, "L0H*")  # kernels are compiled and memory is taken once
        for name in SWEEPS:
            if time.perf_counter() - began > 0.45 * given.seconds:
                say(f"| {dtype} | {name} | not run: out of time | | | | | |")
                continue
            say(f"| {dtype} | {name} | {row(model, task, name, device)} |")
        if device.startswith("cuda"):
            peak = torch.cuda.max_memory_allocated() / 2**30
            say(f"| {dtype} | peak memory of the device: {peak:.1f} GB | | | | | | |")
        del model
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()


def row(model: Any, task: Any, name: str, device: str) -> str:
    """One sweep both ways."""
    from transformer_lens import patching as theirs

    where, setter, activation, axes = SWEEPS[name]
    ours, result = min(
        (seconds(device, lambda: interp.patch(model, task, where)) for _ in range(2)),
        key=lambda pair: pair[0],
    )
    sizes = {"layer": model.cfg.n_layers, "pos": task.clean.shape[1], "head": model.cfg.n_heads}
    cells = list(pd.MultiIndex.from_product([range(sizes[axis]) for axis in axes]))
    chosen = [cells[int((i + 0.5) * len(cells) / SAMPLE)] for i in range(SAMPLE)]
    hook = {"z": "attn.hook_z", "resid_pre": "hook_resid_pre", "mlp_out": "hook_mlp_out"}
    clean, corrupted = task.clean.to(device), task.corrupted.to(device)
    with torch.inference_mode():
        _, cache = model.run_with_cache(
            clean, names_filter=lambda one: one.endswith(hook[activation])
        )

        def patched(some: list) -> torch.Tensor:
            return theirs.generic_activation_patch(
                model,
                corrupted,
                cache,
                lambda logits: task.metric(logits).mean(),
                getattr(theirs, setter),
                activation,
                index_df=pd.DataFrame(some, columns=list(axes)),
            )

        patched(chosen[:2])
        took, values = seconds(device, lambda: patched(chosen))
    total = took * len(cells) / len(chosen)
    order = [result.dims.index(axis) for axis in axes]
    mine = result.values.transpose(order) + result.metadata["corrupted"]
    found = values.float().cpu().numpy()
    off = max(abs(mine[cell] - x) for cell, x in zip(chosen, found))
    backend = result.metadata["backend"]
    return (
        f"{len(cells)} | {total:.1f} | {ours:.2f} | {total / ours:.1f}x | {backend} | "
        f"{off:.1e} of effects up to {abs(result.values).max():.2g}"
    )


# --- the contract ---------------------------------------------------------------------------------


def tables() -> tuple[dict[str, Callable], Callable]:
    """The calls of the tests' table, and what takes the numbers out of an answer."""
    stand_in = types.ModuleType("elsewhere")  # the pretend device is not wanted beside a real one
    stand_in.DEVICE = "cpu"
    sys.modules["elsewhere"] = stand_in
    import test_devices

    calls = dict(test_devices.VERBS)
    calls |= {f"features {name}": call for name, call in test_devices.FEATURES.items()}
    calls |= {f"widgets {name}": call for name, call in test_devices.WIDGETS.items()}
    return calls, test_devices.numbers


def contract(given: Any, began: float, say: Callable[[str], None]) -> None:
    """Every call on the device beside the CPU."""
    calls, numbers = tables()
    cpu = interp.load("tiny", progress=False)
    task = interp.tasks.ioi(cpu, n=4, seed=0)
    right: dict[str, list] = {}
    for dtype, share in (("float32", 0.78), ("bfloat16", 0.92), ("float16", 1.0)):
        model = interp.load("tiny", device=given.device, dtype=dtype, progress=False)
        good, far, skipped, failed, left = 0, [], [], [], 0
        for name, call in calls.items():
            if time.perf_counter() - began > share * given.seconds:
                left += 1
                continue
            try:
                if name not in right:
                    torch.manual_seed(0)
                    right[name] = list(numbers(call(cpu, task)))
                torch.manual_seed(0)
                found = list(numbers(call(model, task)))
                far.append((difference(found, right[name]), name))
                good += 1
            except ImportError as error:
                skipped.append(f"{name} ({error.name or error})")
            except Exception as error:
                ours = [
                    frame
                    for frame in traceback.extract_tb(error.__traceback__)
                    if "/interp/" in frame.filename
                ]
                at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
                failed.append(f"{name}: {type(error).__name__} at {at}: {str(error)[:160]}")
        say(f"\n## Every verb on {given.device} in {dtype}, tiny Llama\n")
        say(f"{good} of {len(calls)} calls run; {len(failed)} fail, {len(skipped)} skipped")
        say(f"(they need what is not installed), {left} not run for want of time.")
        same = [pair for pair in far if pair[0] < (1e-3 if dtype == "float32" else 0.1)]
        limit = "1e-3" if dtype == "float32" else "0.1"
        say(f"{len(same)} within {limit} of the CPU's float32 numbers (of the largest number).")
        for off, name in sorted(far, reverse=True)[:8]:
            say(f"- largest differences: {name}: {off:.1e}")
        for text in failed:
            say(f"- FAILS {text}")
        if skipped:
            say(f"- skipped: {', '.join(skipped)}")


def difference(found: list, right: list) -> float:
    """The largest difference of two answers, each as a share of its largest number."""
    if len(found) != len(right) or any(a.shape != b.shape for a, b in zip(found, right)):
        return float("inf")
    shares = [0.0]
    for a, b in zip(found, right):
        ok = np.isfinite(a) & np.isfinite(b)
        if ok.any():
            shares.append(abs(a - b)[ok].max() / max(abs(b[ok]).max(), 1e-3))
    return float(max(shares))


if __name__ == "__main__":
    main()
