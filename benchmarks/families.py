"""Head and residual sweeps beside TransformerLens' on other families' blocks, all of one size.

    python benchmarks/families.py            # the table, printed
    python benchmarks/families.py --write    # and put into benchmarks/README.md

Models of random weights with 8 layers of 8 heads (width 256, MLP 1,024) as Llama, Qwen3 (norms of
queries and keys), Gemma-3 (those, four norms a block, local layers), GPT-2 and Pythia (parallel
blocks) build them, on 8 pairs of 16 random tokens that differ at position 10. Where a family is as
much faster as Llama, what sets its blocks apart costs nothing.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import torch
from common import machine, table, write
from patching import side_by_side
from scaling import HEADS, LAYERS, WIDTH, pairs

import interp
from interp.models.tiny_models import word_tokenizer

# z: behind Gemma's norm after attention, what a head writes is not what TransformerLens patches
SWEEPS = {"residual stream by position": "resid_pre.*@*", "heads": "L*H*.z"}
FAMILIES = ("Llama", "Qwen3", "Gemma3", "GPT2", "GPTNeoX")


def model_of(family: str) -> Any:
    """A random model of this family, loaded."""
    import transformers

    tokenizer = word_tokenizer()
    sizes = dict(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=2048,
    )
    if family == "GPT2":
        sizes = dict(n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, n_positions=2048)
    elif family != "GPTNeoX":
        sizes |= dict(num_key_value_heads=HEADS, head_dim=WIDTH // HEADS)
    if family == "Gemma3":
        sizes |= dict(sliding_window=8, query_pre_attn_scalar=WIDTH // HEADS)
    name = f"{family}Text" if family == "Gemma3" else family
    config = getattr(transformers, f"{name}Config")(
        **sizes,
        vocab_size=len(tokenizer),
        tie_word_embeddings=True,
        attn_implementation="eager",
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
    )
    config._name_or_path = f"random {family}"
    torch.manual_seed(0)
    heads = {"GPT2": "GPT2LMHeadModel"}
    net = getattr(transformers, heads.get(family, f"{family}ForCausalLM"))(config)
    with torch.no_grad():  # logits that differ: a fresh model predicts all tokens alike
        for weight in net.parameters():
            if weight.ndim == 2:
                weight.mul_(4.0)
    return interp.load(net.eval(), tokenizer=tokenizer, check=False, progress=False)


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--write", action="store_true", help="put the table into the README")
    said = options.parse_args()
    os.environ["INTERP_PROGRESS"] = "0"
    os.environ["TQDM_DISABLE"] = "1"  # TransformerLens' own bars
    torch.set_num_threads(1)
    rows = []
    for family in FAMILIES:
        model = model_of(family)
        task = pairs(model)
        found = [
            side_by_side(model, task, sweep, said.rounds, 6, where=where)
            for sweep, where in SWEEPS.items()
        ]
        rows.append((family, *found))
        print(*rows[-1], flush=True)
    text = (
        f"Measured on: {machine()}.\n\n**Ratio to TransformerLens, the median of {said.rounds}"
        f" interleaved rounds (lowest-highest)**\n\n{table(('family', *SWEEPS), rows)}"
    )
    print(text)
    if said.write:
        write(Path(__file__).parent / "README.md", "families", text)


if __name__ == "__main__":
    main()
