"""What the field calls things, for `interp.find`: a row for each idea.

The names on the left are what a researcher may type; those on the right are ours, the nearest
first. The third column is said where ours is near and not the same.
"""

from typing import NamedTuple


class Words(NamedTuple):
    """Names of one idea, what it is called here, and what is different where it is not the same."""

    names: tuple[str, ...]
    ours: tuple[str, ...]
    remark: str = ""


def _row(names: str, ours: str, remark: str = "") -> Words:
    return Words(tuple(n.strip() for n in names.split("|")), tuple(ours.split()), remark)


# what a question has beside what it asks about
SMALL = frozenset(
    "a an and are be by can could do does for from has have how i if in into is it its me my of on"
    " or our should than that the their them there these this to use was we what when where which"
    " who why will with you your".split()
)
PATCH, RUNS = "interp.patch", "interp.methods.runs."
FEATURES, WEIGHTS = "interp.features.", "interp.methods.weights."
ATTENTION, STEERING = "interp.methods.attention.", "interp.methods.steering."
TABLE = (
    _row(
        "prune weights | weight pruning | magnitude pruning | sparse weights | n:m sparsity | 2:4",
        "interp.replications.pruned",
    ),
    _row(
        "activation sparsity | cett | silence neurons | inactive neurons | share of active neurons",
        "interp.replications.activation_sparsity",
    ),
    _row(
        "logit attribution | dla | direct effect | direct logit attribution",
        "interp.logit_attribution",
    ),
    _row(
        "slurm | cluster | job array | sbatch | dask | submitit | parallel | seeds | grid of runs",
        "interp.over interp.scale.join interp.scale.loaded",
    ),
    _row(
        "resume | process pool | multiprocessing | several processes | several cores | many seeds",
        "interp.over interp.scale.join",
        "interp.over keeps each finished point, resumes, and runs on client=4 processes",
    ),
    _row(
        "copying head | heads copy | copy suppression",
        "interp.head_scores",
        "head_scores(model, 'induction') says who looks, head_scores(model, 'copying') who writes",
    ),
    _row(
        "better than chance | random circuit | control circuit",
        "interp.evaluate interp.methods.runs.random_heads",
        "evaluate runs random circuits of the same size beside yours",
    ),
    _row("patching | activation patching | causal mediation analysis", PATCH),
    _row("interchange intervention | interchange | swap", f"interp.interchange {PATCH}"),
    _row("resample patching | denoising | noising", PATCH),
    _row(
        "causal mediation | indirect effect | total effect",
        f"{PATCH} interp.path_patch interp.effect",
    ),
    _row("path patching | edge patching", "interp.path_patch interp.discover"),
    _row(
        "rome | memit | causal tracing | fact editing",
        "interp.causal_trace",
        "we trace where a fact is; weights are not edited",
    ),
    _row(
        "eap | eap-ig | edge attribution patching",
        "interp.discover",
        "discover(model, task, method='eap_ig')",
    ),
    _row(
        "gim | gradient interaction modifications | relp | relevance patching | lrp",
        "interp.discover interp.attribution_patch",
        "methods by name: discover(model, task, method='gim'), attribution_patch(method='relp')",
    ),
    _row(
        "acdc | automatic circuit discovery | hisp | subnetwork probing | edge pruning",
        "interp.discover",
        "a method by name: discover(model, task, method='acdc')",
    ),
    _row(
        "atp | attribution patching | gradient times activation",
        "interp.attribution_patch interp.discover",
    ),
    _row("circuit | subgraph | minimal circuit", "interp.Circuit interp.discover interp.evaluate"),
    _row(
        "position-aware circuit | circuit by position | token positions of edges | peap",
        "interp.discover interp.Circuit interp.evaluate",
        "discover(model, task, positions=True) scores edges at places",
    ),
    _row(
        "faithfulness | completeness | minimality",
        "interp.evaluate interp.faithfulness_curve interp.methods.circuits.minimality",
    ),
    _row("cpr | cmd | mib", "interp.methods.circuits.cpr_cmd interp.circuits.write"),
    _row(
        "ablate | ablation | mean ablation | zero ablation | resample ablation",
        "interp.ablate",
        "by='mean', 'resample' or 'zero'",
    ),
    _row("pruning | prune heads | lesion", "interp.ablate interp.methods.ablation.greedy_ablation"),
    _row(
        "knockout | knock-out | attention knockout | attention blocking | attention masking",
        "interp.attention_knockout",
    ),
    _row(
        "causal scrubbing | scrubbing",
        f"interp.ablate interp.evaluate {PATCH}",
        "no scrubbing of hypotheses: resample ablation of a circuit's complement is nearest",
    ),
    _row(
        "sae | sparse autoencoder | dictionary learning | transcoder | crosscoder | top-k sae",
        f"{FEATURES}train {FEATURES}load {FEATURES}evaluate",
    ),
    _row(
        "cross-layer transcoder | clt | cross-layer features",
        f"{FEATURES}train_cross_layer_transcoder {FEATURES}CrossLayerTranscoder {FEATURES}graph",
    ),
    _row(
        "feature | latent | monosemantic | max activating examples | autointerp",
        f"{FEATURES}card {FEATURES}cards {FEATURES}describe interp.widgets.features",
    ),
    _row("sparse feature circuits | feature circuit", f"{FEATURES}circuit"),
    _row(
        "attribution graph | circuit tracing | circuit tracer | replacement model | neuronpedia",
        f"{FEATURES}graph {FEATURES}AttributionGraph",
    ),
    _row("feature steering | clamp feature", f"{FEATURES}steer {FEATURES}clamp"),
    _row("feature ablation | latent attribution", f"{FEATURES}latent_attribution {FEATURES}ablate"),
    _row(
        "feature absorption | feature splitting",
        f"{FEATURES}absorption {FEATURES}matched_cosine_similarity",
    ),
    _row(
        "steering vector | activation addition | actadd | caa | representation engineering | repe",
        f"interp.steer interp.Direction {STEERING}difference_of_means",
    ),
    _row(
        "function vector | task vector | in-context vector",
        f"{STEERING}function_vector {STEERING}task_vector",
    ),
    _row(
        "refusal direction | directional ablation | abliteration",
        f"interp.Direction {STEERING}difference_of_means",
        "then interp.Intervention('resid_post.12', interp.edits.project_out(direction))",
    ),
    _row(
        "probe | linear probe | probing | diagnostic classifier",
        f"interp.probe {FEATURES}probe {STEERING}difference_of_means {FEATURES}concept_detection",
    ),
    _row(
        "das | distributed alignment search | boundless das | causal abstraction | causal variable"
        " | iia",
        "interp.align interp.interchange",
    ),
    _row(
        "logit lens | early exit | vocabulary projection | unembed",
        "interp.logit_lens interp.methods.lenses.write_lens",
    ),
    _row(
        "tuned lens | affine lens | jacobian lens | attention lens",
        "interp.tuned_lens interp.jacobian_lens interp.logit_lens interp.methods.lenses.lens_score",
    ),
    _row("patchscopes | selfie | inspection | future lens", "interp.patchscope"),
    _row(
        "ov | ov circuit | copying score | value circuit", f"{WEIGHTS}ov_readout interp.head_scores"
    ),
    _row("qk | qk circuit | query key", f"{WEIGHTS}qk_readout {WEIGHTS}composition"),
    _row(
        "composition | k-composition | q-composition | v-composition | virtual weights",
        f"{WEIGHTS}composition",
    ),
    _row(
        "svd | singular value | eigenvalue | weight analysis",
        f"{WEIGHTS}ov_readout {WEIGHTS}composition",
    ),
    _row(
        "induction | induction head | previous token head | duplicate token head | name mover",
        "interp.head_scores interp.tasks.induction",
    ),
    _row("retrieval head | needle in a haystack", "interp.head_scores interp.tasks.needle"),
    _row(
        "attention sink | bos attention | no-op head | resting head | massive activations",
        f"interp.head_scores {ATTENTION}attention_received {ATTENTION}activation_norms",
    ),
    _row(
        "attention pattern | attention map | attention weights | circuitsvis | bertviz",
        "interp.attention_patterns interp.widgets.attention",
    ),
    _row(
        "attention flow | information flow",
        "interp.attention_knockout interp.discover",
        "discover(model, text, method='information_flow')",
    ),
    _row(
        "saliency | input attribution | token attribution | feature attribution | captum | inseq"
        " | shap | shapley | occlusion | integrated gradients | input x gradient | lime"
        " | attention rollout",
        "interp.attribute",
        "attribute(model, text, by='occlusion').plot()",
    ),
    _row(
        "fine-tuning | fine tuning | finetuning | fine-tune | train a model further | lora | peft"
        " | low-rank adaptation | sft | supervised fine-tuning | lofit | head offsets"
        " | continue training | adapter",
        "interp.finetune interp.methods.finetuning.read_finetuned",
        "finetune(model, task, how='lora').sheet",
    ),
    _row(
        "hook | hooks | run_with_hooks | register_forward_hook | intervene",
        "interp.Intervention interp.run",
    ),
    _row(
        "cache | run_with_cache | activations | hidden states | output_hidden_states",
        f"interp.run {FEATURES}activations",
        "run(model, text, keep=['resid_post.*']).kept",
    ),
    _row(
        "prompt pairs | dataset | counterfactual | contrastive pairs | csv",
        "interp.tasks.pairs interp.tasks.read",
    ),
    _row(
        "corrupt | corruption | symmetric token replacement",
        "interp.tasks.pairs",
        "interp.tasks.corrupt has swap, replace and shuffle",
    ),
    _row("ioi | indirect object identification", "interp.tasks.ioi"),
    _row("greater than", "interp.tasks.greater_than"),
    _row("factual recall | capital", "interp.tasks.capitals interp.causal_trace"),
    _row(
        "metric | logit difference | kl divergence",
        f"interp.Task {RUNS}kl_metric {RUNS}attention_metric",
    ),
    _row("cross entropy | perplexity | loss", "interp.methods.text.cross_entropy"),
    _row(
        "neuron | mlp neuron | key-value memory",
        "interp.attribution_patch interp.ablate interp.logit_attribution",
        "an address such as 'mlp.3.post#512'",
    ),
    _row("residual stream | norm | residual norm", f"{ATTENTION}residual_norms interp.run"),
    _row(
        "superposition | toy model | grokking | modular addition | tracr",
        "interp.toys.load_or_train interp.toys.train interp.circuits.known",
    ),
    _row("nmf | snmf | pca | ica", f"{FEATURES}factorise {FEATURES}baselines"),
    _row("text generation | sample | completion | chat", "interp.generate interp.chat"),
    _row("auroc | roc | precision recall", "interp.methods.circuits.roc_curve"),
    _row(
        "study | claim | verdict | replication | preregistration",
        "interp.studies.new interp.studies.verdicts interp.studies.Claim",
    ),
)
