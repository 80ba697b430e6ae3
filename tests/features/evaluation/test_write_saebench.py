"""Files for SAEBench hold its fields, and under them only what it measures in the same way."""

import json

import pytest
import torch
from dictionaries import dictionary

from interp import features

# the required fields of sae-bench 0.6.0's "core" results, from its own JSON schema
TOP = {
    *("eval_type_id", "eval_config", "eval_id", "datetime_epoch_millis", "eval_result_metrics"),
    *("sae_bench_commit_hash", "sae_lens_id", "sae_lens_release_id", "sae_lens_version"),
    "sae_cfg_dict",
}
METRICS = {
    "model_behavior_preservation": 3,
    "model_performance_preservation": 4,
    "reconstruction_quality": 4,
    "shrinkage": 4,
    "sparsity": 2,
    "token_stats": 2,
    "misc_metrics": 7,
}


@pytest.mark.filterwarnings("ignore:the loss added by the mean ablation")
def test_a_file_has_the_schema_and_the_numbers_of_evaluate(tiny, tmp_path):
    ids = torch.randint(5, 200, (6, 16), generator=torch.Generator().manual_seed(0))
    both = [dictionary("topk", name="a/1"), dictionary("topk", name="b")]
    found = features.evaluate(tiny, both, ids)
    paths = features.write_saebench(tmp_path, found, both)
    assert [path.name for path in paths] == ["a_1_eval_results.json", "b_eval_results.json"]
    content = json.loads(paths[0].read_text())
    metrics = content["eval_result_metrics"]
    assert TOP <= set(content) and {k: len(v) for k, v in metrics.items()} == METRICS

    def ours(measure):
        return float(found.sel(dictionary="a/1", measure=measure).values)

    performance = metrics["model_performance_preservation"]
    assert metrics["sparsity"] == {"l0": pytest.approx(ours("latents on")), "l1": -1}
    assert performance["ce_loss_with_sae"] == pytest.approx(ours("loss, spliced"))
    assert performance["ce_loss_without_sae"] == pytest.approx(ours("loss, plain"))
    # ours is of the mean, SAEBench's of zero
    assert performance["ce_loss_with_ablation"] == performance["ce_loss_score"] == -1
    counts = found.metadata["latents"]["a/1"]
    alive = metrics["misc_metrics"]["frac_alive"]
    assert alive == 1 - counts["dead"] / counts["latents"] and 0 < alive < 1
    assert metrics["token_stats"]["total_tokens_eval_reconstruction"] == 6 * 15
    assert content["eval_config"]["context_size"] == 16
    own = content["eval_result_unstructured"]["interp"]["explained variance"]
    assert own["value"] == pytest.approx(ours("explained variance"))
    assert own["low"] < own["value"] < own["high"]
    (alone,) = features.write_saebench(tmp_path, features.evaluate(tiny, both[1], ids), both[1])
    assert json.loads(alone.read_text())["sae_lens_release_id"] == "b"
    with pytest.raises(ValueError, match="unknown dictionary of this result 'c'"):
        features.write_saebench(tmp_path, found, dictionary("topk", name="c"))
    with pytest.raises(ValueError, match="not the numbers of features.evaluate"):
        features.write_saebench(tmp_path, found.sel(measure="latents on"), both)
