"""Features side by side with sae-lens: harvesting activations, and a training step of a top-k
autoencoder.

    python benchmarks/features.py                # the tables, printed
    python benchmarks/features.py --write        # and put into benchmarks/README.md

Harvesting: sae-lens' own `ActivationsStore` on the same TransformerBridge and the same tokens (this
version of it stops after the block that is read), and a full forward pass with the same hook,
against `features.activations`. Training: one `SAETrainer.step` against ours, on the same batch from
the same weights; both take the same optimiser step. Equal numbers are asserted first. Time is CPU
time, all threads together: the machine may be busy.
"""

import argparse
import os
import time
from pathlib import Path
from typing import Any

import torch
from common import interleaved, machine, table, write

import interp
from interp import features

LAYER, LENGTH, CHUNKS = 15, 128, 8


def cpu(job: Any) -> float:
    """The CPU seconds of a job."""
    began = time.process_time()
    job()
    return time.process_time() - began


# --- harvesting -----------------------------------------------------------------------------------


def store(model: Any, tokens: torch.Tensor) -> Any:
    """sae-lens' activation store over these chunks, again and again."""
    from datasets import Dataset
    from sae_lens import ActivationsStore

    return ActivationsStore(
        model=model,
        dataset=Dataset.from_dict({"tokens": tokens.repeat(64, 1).tolist()}),
        streaming=False,
        hook_name=f"blocks.{LAYER}.hook_out",
        hook_head_index=None,
        context_size=LENGTH,
        d_in=model.cfg.d_model,
        n_batches_in_buffer=1,
        total_training_tokens=10**6,
        store_batch_size_prompts=len(tokens),
        train_batch_size_tokens=1024,
        prepend_bos=False,
        normalize_activations="none",
        device=torch.device("cpu"),
        dtype="float32",
        disable_concat_sequences=True,
    )


def harvesting(model: Any, rounds: int) -> str:
    """The table of harvesting."""
    site = f"resid_post.{LAYER}"
    corpus = interp.texts.prose()
    tokens = interp.texts.chunks(model, corpus, length=LENGTH, n=CHUNKS)
    theirs = store(model, tokens)
    with torch.inference_mode():
        raw = theirs.get_activations(tokens).reshape(CHUNKS, LENGTH, -1)[:, 1:].flatten(0, 1)
    ours = features.activations(model, site, tokens).of()
    apart = float((raw - ours).norm() / raw.norm())
    assert apart < 1e-4, f"the activations differ by {apart:.1e}"

    def full():
        return model.run_with_cache(tokens, names_filter=[theirs.hook_name], prepend_bos=False)

    ways = {
        "sae-lens' `ActivationsStore`": lambda: theirs.get_activations(tokens),
        "a full forward pass with its hook": full,
    }
    rows, n = [], CHUNKS * LENGTH
    for name, job in ways.items():

        def graph_free(job: Any = job) -> None:
            with torch.inference_mode():
                job()

        ratio = interleaved(
            lambda: cpu(graph_free),
            lambda: cpu(lambda: features.activations(model, site, tokens)),
            rounds,
        )
        spread = f"{min(ratio.rounds):.1f}-{max(ratio.rounds):.1f}"
        rows.append(
            (
                name,
                f"{n / ratio.theirs:.0f}",
                f"{n / ratio.ours:.0f}",
                f"{ratio.theirs / ratio.ours:.1f}x ({spread})",
                f"{apart:.0e}",
            )
        )
        print(*rows[-1], flush=True)
    return table(
        (
            f"{n} tokens of `{site}`, against",
            "theirs, tokens/CPU s",
            "interp, the same",
            "ratio (lowest-highest)",
            "relative difference",
        ),
        rows,
    )


# --- training -------------------------------------------------------------------------------------


def trainer(width: int, k: int, batch: int, d_in: int) -> Any:
    """sae-lens' trainer around a fresh top-k autoencoder, the same each time."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    from interp.features.training import architectures

    config = SAETrainerConfig(
        total_training_samples=10**6,
        train_batch_size_samples=batch,
        lr_end=3e-5,
        logger=LoggingConfig(log_to_wandb=False),
    )
    return SAETrainer(
        config, architectures.sae("topk", d_in, d_in, width, k, 1000, 0, {}), iter(())
    )


def training(rounds: int) -> str:
    """The table of training steps."""
    from interp.features.training import topk_step

    rows = []
    for width, k, batch in ((2304, 32, 1024), (4608, 32, 1024), (2304, 32, 4096)):
        theirs, ours = (trainer(width, k, batch, 576) for _ in range(2))
        x = torch.randn(batch, 576)
        a, b = float(theirs.step(x).loss.detach()), topk_step.step(ours, x)
        loss = abs(a - float(b.mse + b.aux)) / a
        apart = max(
            float((p - q).norm() / p.norm())
            for p, q in zip(theirs.sae.parameters(), ours.sae.parameters())
        )
        assert loss < 1e-6 and apart < 1e-4, f"loss {loss:.1e}, weights {apart:.1e}"
        ratio = interleaved(
            lambda: cpu(lambda: theirs.step(x)),
            lambda: cpu(lambda: topk_step.step(ours, x)),
            rounds,
        )
        spread = f"{min(ratio.rounds):.1f}-{max(ratio.rounds):.1f}"
        rows.append(
            (
                width,
                k,
                batch,
                f"{batch / ratio.theirs:.0f}",
                f"{batch / ratio.ours:.0f}",
                f"{ratio.theirs / ratio.ours:.1f}x ({spread})",
                f"{loss:.0e}",
            )
        )
        print(*rows[-1], flush=True)
    return table(
        (
            "latents",
            "k",
            "batch",
            "sae-lens, tokens/CPU s",
            "interp, tokens/CPU s",
            "ratio (lowest-highest)",
            "relative difference of the loss",
        ),
        rows,
    )


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument(
        "--write", action="store_true", help="put the tables into benchmarks/README.md"
    )
    said = options.parse_args()
    os.environ["INTERP_PROGRESS"] = "0"
    model = interp.load()
    parts = [
        f"Measured on: {machine()}.",
        f"**Harvesting** ({said.rounds} interleaved rounds)",
        harvesting(model, said.rounds),
        f"**One training step** ({said.rounds} interleaved rounds)",
        training(said.rounds),
    ]
    text = "\n\n".join(parts)
    print(text)
    if said.write:
        write(Path(__file__).parent / "README.md", "features", text)


if __name__ == "__main__":
    main()
