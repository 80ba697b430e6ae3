"""The numbers of `evaluate` as SAEBench's result files have them."""

import json
import re
import time
import uuid
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from interp import _store, sites
from interp._errors import unknown
from interp.features.dictionary import Dictionary
from interp.features.evaluation.measures import MEASURES, names_of
from interp.results import Result

NOT_MEASURED = -1.0  # as SAEBench writes what it could not compute
CATEGORIES = {  # of SAEBench's "core" evaluation
    "model_behavior_preservation": "kl_div_score kl_div_with_ablation kl_div_with_sae",
    "model_performance_preservation": (
        "ce_loss_score ce_loss_with_ablation ce_loss_with_sae ce_loss_without_sae"
    ),
    "reconstruction_quality": "explained_variance explained_variance_legacy mse cossim",
    "shrinkage": "l2_norm_in l2_norm_out l2_ratio relative_reconstruction_bias",
    "sparsity": "l0 l1",
    "misc_metrics": (
        "freq_over_1_percent freq_over_10_percent normalized_freq_over_1_percent"
        " normalized_freq_over_10_percent average_max_encoder_cosine_sim"
        " average_max_decoder_cosine_sim frac_alive"
    ),
}
SAME = {  # where both measure the same: SAEBench's category and name, and ours
    ("sparsity", "l0"): "latents on",
    ("model_performance_preservation", "ce_loss_with_sae"): "loss, spliced",
    ("model_performance_preservation", "ce_loss_without_sae"): "loss, plain",
}


def write_saebench(
    folder: str | Path, result: Result, dictionary: Dictionary | Sequence[Dictionary]
) -> list[Path]:
    """The files written, one a dictionary: `evaluate`'s numbers in SAEBench's "core" schema.

    Only what both tools measure alike stands in SAEBench's own fields: latents on (l0), the loss
    with and without the dictionary, the share of latents that were on at all, and the tokens. What
    SAEBench defines in another way is -1, as it writes what it could not compute: its ablation puts
    zeros where `evaluate` puts the mean, and the code of version 0.6 takes explained variance of
    another total than the squared distance from the mean. All of `evaluate`'s numbers, with
    intervals, are in the file's "eval_result_unstructured".

    Example:
        >>> found = features.evaluate(model, [sae, other])
        >>> features.write_saebench("eval_results", found, [sae, other])

    Args:
        folder: Where the files are written.
        result: What `features.evaluate` gave.
        dictionary: The same dictionary or dictionaries.

    Returns:
        The paths, `DICTIONARY_eval_results.json`.

    Raises:
        ValueError: If the result is not `evaluate`'s, or is of other dictionaries.

    Reference:
        Karvonen et al. 2025, "SAEBench", arXiv 2503.09532; fields of sae-bench 0.6.0.
    """
    measures = result.coords.get("measure")
    if measures is None or list(measures) != list(MEASURES) or "latents" not in result.metadata:
        raise ValueError(
            "these are not the numbers of features.evaluate: try features.write_saebench(folder,"
            " features.evaluate(model, sae), sae)"
        )
    given = [dictionary] if isinstance(dictionary, Dictionary) else list(dictionary)
    names, measured = names_of(given), list(result.coords.get("dictionary", [result.name]))
    missing = next((name for name in names if name not in measured), None)
    if missing is not None:
        raise unknown("dictionary of this result", missing, measured)
    paths = {d.name: Path(folder) / f"{_file_name(d.name)}_eval_results.json" for d in given}
    if len(set(paths.values())) < len(given):
        raise ValueError(f"two of {', '.join(names)} would have one file: give them other names")
    for one in given:
        part = result.sel(dictionary=one.name) if "dictionary" in result.dims else result
        content = json.dumps(_content(part, one), indent=2, allow_nan=False)
        _store.write_text(paths[one.name], content)
    return list(paths.values())


def _file_name(name: str) -> str:
    """A dictionary's name as a file's."""
    return re.sub(r"[^\w.-]+", "_", name)[:100]


def _content(result: Result, dictionary: Dictionary) -> dict[str, Any]:
    """What stands in the file of one dictionary."""
    about = result.metadata
    low, high = result.ci()
    own = {
        name: {"value": _finite(v), "low": _finite(a), "high": _finite(b), "unit": MEASURES[name]}
        for name, v, a, b in zip(MEASURES, result.values, low, high)
    }
    metrics: dict[str, Any] = {
        category: dict.fromkeys(names.split(), NOT_MEASURED)
        for category, names in CATEGORIES.items()
    }
    for (category, name), ours in SAME.items():
        value = own[ours]["value"]
        metrics[category][name] = NOT_MEASURED if value is None else value
    counts = about["latents"][dictionary.name]
    metrics["misc_metrics"]["frac_alive"] = 1 - counts["dead"] / counts["latents"]
    tokens = dict.fromkeys(("reconstruction", "sparsity_variance"), int(about["tokens"]))
    metrics["token_stats"] = {f"total_tokens_eval_{of}": n for of, n in tokens.items()}
    model, hook = str(about.get("model")), sites.to_hook(dictionary.site)
    return {
        "eval_type_id": "core",
        "eval_config": {
            "model_name": model,
            "llm_dtype": str(about.get("dtype", "float32")),
            "batch_size_prompts": 1,
            "n_eval_reconstruction_batches": int(about["chunks"]),
            "n_eval_sparsity_variance_batches": int(about["chunks"]),
            "dataset": str(about.get("texts", "")),
            "context_size": int(about["tokens"]) // int(about["chunks"]) + int(about["skip"]),
            "compute_kl": False,
            "compute_ce_loss": True,
            "compute_l2_norms": False,
            "compute_sparsity_metrics": True,
            "compute_variance_metrics": False,
            "compute_featurewise_density_statistics": True,
            "compute_featurewise_weight_based_metrics": False,
            "exclude_special_tokens_from_reconstruction": bool(about["skip"]),
            "verbose": False,
        },
        "eval_id": str(uuid.uuid4()),
        "datetime_epoch_millis": int(time.time() * 1000),
        "eval_result_metrics": metrics,
        "eval_result_details": [],
        "sae_bench_commit_hash": f"not run by SAEBench: interp {version('interp')}",
        "sae_lens_id": "custom_sae",
        "sae_lens_release_id": dictionary.name,
        "sae_lens_version": version("sae-lens"),
        "sae_cfg_dict": {
            "architecture": dictionary.kind,
            "d_in": dictionary.d_in,
            "d_sae": dictionary.n_latents,
            "model_name": model,
            "hook_name": hook,
        },
        "eval_result_unstructured": {"interp": own},
    }


def _finite(value: Any) -> float | None:
    """A number for JSON; None for what is not one."""
    number = float(value)
    return number if number == number and abs(number) != float("inf") else None
