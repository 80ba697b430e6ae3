# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Factual recall: how does "The capital of France is" become " Paris"?
#
# Paper: Lv et al. 2024, "Interpreting Key Mechanisms of Factual Recall in Transformer-Based Language Models", arXiv 2403.19521; causal tracing after Meng et al. 2022, arXiv 2202.05262
#
# Found: the early-MLP peak is MLP 0 putting the token together; five heads of layers 23 and 29 fetch the country and the answer falls with them, but they already write its capital, and the last layer helps instead of holding back
#
# Judged on 15 other countries: MLPs 0-5 at the country bring back 0.999 of what noise took, MLP 0 alone 0.991, and
# MLPs 2-7 only 0.16. Five of 270 heads write the country at END; without them 0.87 of p(answer) is gone, while as
# many random heads of the same layers lose nothing. No sum of heads explains what the MLPs write (R2 0.04), MLP 24
# pushes towards capitals in general more than towards this one, and the last layer raises p(answer).
#
# Lv and colleagues describe three steps: heads at the last token fetch the country; the MLPs after them erase or
# amplify single heads; one deep MLP turns "France" into "Paris"; and they find that the last layer holds right
# answers back. Meng and colleagues had looked at the *subject* instead: blur the country with noise, restore
# single activations, and early MLPs at the country bring the answer back. That peak is often read as "the fact is
# stored there". We ask whether it is more than the token being put together again.

# %% [markdown]
# ## What the papers say, and what would count here
#
# These thresholds were written down before anything was measured. A claim *holds* when its number passes the
# threshold and its 95 % interval stays clear of the control's. Heads, MLPs and windows are chosen on one half of
# the countries and judged on the other. Not repeated here: unlearning by training only the lower layers (the
# second claim of the SemEval paper).

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp
from interp.results import mean_of
from interp.studies import Claim, gate, measured, ratio_of_means, verdicts

LV = dict(paper="no number in the abstract", source="Lv et al. 2024, abstract")
TRACED = "SHA256 at SemEval-2025 Task 4, abstract (tracing after Meng et al. 2022)"
EDGE = (
    "the floor for partly lies inside the interval: other draws of the noise can give the other "
    "word"
)
RANDOM = "10 random sets of as many heads from the same layers"

# %%
fetch = Claim(
    "heads-fetch-the-country",
    says="Task-specific heads at the last position extract the topic token ('France')",
    **LV,
    parts=("first", "second", "third"),
    needs=(3, 1),
    metric="share of prompts with the country in the top 10 of what each of 3 heads writes",
    holds=0.6,
    null=0.0,
    control=RANDOM,
)
needed = Claim(
    "these-heads-are-needed",
    says="The answer depends on what these heads pass on",
    **LV,
    holds=0.5,
    null=0.0,
    control=RANDOM,
    metric="share of p(answer) lost when all of them are mean-ablated at END",
)
linear = Claim(
    "mlps-weigh-the-heads",
    says=(
        "The next MLPs act on the heads' outputs: a regression on them explains what an MLP writes"
    ),
    paper="no number in the abstract",
    source="Lv et al. 2024, as summarised (sciencestack)",
    holds=0.7,
    partly=0.4,
    null=0.0,
    metric="R2 on other countries, beyond the intercept, mean of the MLPs of the second half",
    control="heads of another prompt",
)
weights = Claim(
    "mlps-erase-or-amplify",
    says="MLPs either erase or amplify the information originating from individual heads",
    **LV,
    holds=0.5,
    partly=0.5,
    control="heads of another prompt",
    metric="share of heads whose weight in the stream after the MLP is not 1 (95 %)",
)
redirect = Claim(
    "one-mlp-redirects",
    says="A deep MLP takes 'France' and generates a component towards 'Paris'",
    **LV,
    parts=("mean of prose", "mean of the task"),
    needs=(2, 1),
    holds=0.5,
    partly=0.25,
    null=0.0,
    metric="share of the logit of answer over country lost when one deep MLP takes its mean at END",
    control="the other MLPs of the second half",
)
held_back = Claim(
    "last-layer-holds-back",
    says="The final layer suppresses correct predictions (anti-overconfidence)",
    paper="universal in GPT-2, OPT and Llama-2",
    source=LV["source"],
    holds=0.0,
    null=0.0,
    control="none",
    needs=(4, 1),
    parts=(
        "capitals, mean of the task",
        "capitals, mean of prose",
        "languages, mean of the task",
        "languages, mean of prose",
    ),
    metric="change of p(answer) when attention and MLP of the last layer take their mean at END",
)
stored = Claim(
    "early-mlps-store",
    says="Layers 0-5 store subject-attribute associations in their MLPs",
    paper="layers 0-5 of OLMo 1B and 7B",
    source=TRACED,
    holds=0.6,
    partly=0.4,
    null=0.0,
    metric="share of the noised run's loss of p(answer) that MLPs 0-5 at the subject bring back",
    control="twice the best window after layer 8",
)
beyond_token = Claim(
    "more-than-the-token",
    says="The same without layers 0 and 1, which put the token together",
    paper="(our control)",
    source="set with the thresholds",
    holds=0.3,
    partly=0.15,
    null=0.0,
    metric="share of the loss of p(answer) that MLPs 2-7 at the subject bring back",
    control="the best window after layer 8",
)

# %% [markdown]
# ## The task
#
# The corrupted twin asks for another country's capital. We keep the prompts the model gets right. A second relation,
# the language, asks the same countries for something else; one token answers there too. FAST looks for heads and
# windows on fewer countries, and judges on the same ones.

# %%
model = interp.load(MODEL)
n, samples = (12, 1) if FAST else (19, 10)
every = interp.tasks.capitals(model, n=19, seed=0)
other = every.heldout()
known, known_other = (
    t.behaviour(model).sel(measure="answer on top", prompts="clean").examples == 1
    for t in (every, other)
)
find, judge = every[known][:n], other[known_other]
find.show()

# %%
other.behaviour(model)

# %%
able = gate("capital on top", measured(known_other), at_least=0.6)
layers, half, last = model.cfg.n_layers, model.cfg.n_layers // 2, model.cfg.n_layers - 1
clean = judge.with_metric("prob").clean_metric(model)
print(
    able,
    f"{len(find)} countries to find, {len(judge)} others to judge, p(answer) = {clean.values:.2f}",
    sep="\n",
)

# %% [markdown]
# ## Is the early-MLP peak more than the token?
#
# Causal tracing: noise on the country's embedding, then six neighbouring MLPs at the country take their clean
# values. Beside it the same with real prompts: another country's run takes them (*enough?*), and the right run
# takes another country's (*needed?*, one minus what is left). The layer is the window's centre: 3 is layers 0 to 5.

# %% tags=["cover"]
trace = interp.causal_trace(
    model,
    find,
    "mlp.*@SUBJECT",
    subject="SUBJECT",
    window=6,
    metric="prob",
    unit="fraction",
    samples=samples,
)
options = dict(unit="fraction", window=6)
enough = interp.patch(model, find, "mlp.*@SUBJECT", **options)
lost = 1 - interp.patch(model, find, "mlp.*@SUBJECT", direction="noising", **options)
curves = {
    "noise: p(answer) restored": trace,
    "enough? logit difference restored": enough,
    "needed? logit difference lost": lost,
}
windows = interp.results.stack(
    curves, axis="what", name="Six MLPs at the country, by the centre of the window"
)
windows.plot(title="Six MLPs at the country: layer 0 in the window, or not (centre 4 and up)?")
# %% [markdown]
# The famous peak is there: 1.00 in all three measures, up to the window of layers 0 to 5. One step on, without layer
# 0, a sixth or less is left, and later windows stay at a fifth or a quarter at most. (The blue band is wide because
# p(answer) differs between countries.) One MLP at a time:

# %%
alone = interp.patch(model, find, "mlp.*@SUBJECT", unit="fraction", metric="prob")
alone_lost = 1 - interp.patch(
    model, find, "mlp.*@SUBJECT", direction="noising", unit="fraction", metric="prob"
)
interp.results.stack({"enough?": alone, "needed?": alone_lost}, axis="what").plot(
    title="One MLP at the country: p(answer) restored, or lost"
)
# %% [markdown]
# MLP 0 alone does everything: put in, the answer is back; taken out, it is gone. No other MLP restores anything by
# itself, and none costs more than 0.08. Does MLP 0 hold the *capital*? Then it should not also hold the language. Put MLP 0 of the right country
# into the other country's run, and ask for the language:

# %%
languages = interp.tasks.capitals(model, n=min(n, 16), relation="language")
interp.patch(model, languages, ["mlp.0@SUBJECT"], unit="fraction", metric="prob")

# %% [markdown]
# The language comes back as wholly as the capital did. So MLP 0 carries *which country this is*: in this model the
# embedding becomes a word only there. The verdict on the held-out countries, with the position control (the same
# early window at END):

# %%
late = 12 + int(trace.values[12:].argmax())
sets = [
    [f"mlp.{layer}@SUBJECT" for layer in range(c - 3, min(c + 3, layers))] for c in (3, 5, late)
]
sets += [["mlp.0@SUBJECT"], [f"mlp.{layer}@END" for layer in range(6)], ["resid_pre.0@SUBJECT"]]
seen = interp.causal_trace(model, judge, sets, subject="SUBJECT", metric="prob", samples=10)
whole = seen.sel(set=5)  # the country's own embedding restored: all that the noise took
noise = gate("p(answer) taken by the noise", ratio_of_means(whole, clean), at_least=0.5)
v_stored = stored.judge(
    ratio_of_means(seen.sel(set=0), whole),
    control=ratio_of_means(2 * seen.sel(set=2).examples, whole),
    gate=[able, noise],
)
v_beyond = beyond_token.judge(
    ratio_of_means(seen.sel(set=1), whole),
    control=ratio_of_means(seen.sel(set=2), whole),
    gate=[able, noise],
    note=EDGE,
)
print(
    v_stored,
    v_beyond,
    f"MLP 0 alone: {ratio_of_means(seen.sel(set=3), whole)}, MLPs 0-5 at END: "
    f"{ratio_of_means(seen.sel(set=4), whole)}",
    sep="\n",
)

# %% [markdown]
# The paper's sentence holds as it is worded, and its own control takes most of it away: MLP 0 alone brings back as
# much as six layers do. Something is left without it, 0.16 against 0.02 for the late window, but half of what we had
# asked for. It barely passes the floor of 0.15.
#
# ## Which heads fetch the country?
#
# Read what every head writes at END by itself, through the final norm and the unembedding: is the country among
# its ten first tokens?

# %%
country = interp.methods.lenses.write_lens(model, find, "L*H*@END", "country", within=10)
carriers = country.top(max(3, int((country.values >= 0.6).sum())), by="high").labels
country.plot(
    marks={"country in at least 60 % of the prompts": carriers},
    title="The country in the top 10 of what a head writes at END",
)
# %% [markdown]
# Five heads, four of them in layer 23; two more in some prompts; none of the others ever. Do the same heads matter? What
# is left of the logit difference when one head at END takes another country's value:

# %%
interp.patch(model, find, "L*H*@END", direction="noising", unit="fraction").top(8, by="low")

# %%
strangers = interp.methods.runs.random_heads(model, carriers)
held = interp.methods.lenses.write_lens(
    model, judge, [*carriers, *sum(strangers, [])], "country", within=10
)
v_fetch = fetch.judge(
    {part: measured(held.pick([head]).mean()) for part, head in zip(fetch.parts, carriers)},
    gate=able,
    control=measured(mean_of([held.pick(s).mean() for s in strangers])),
)
gone = 0 - interp.ablate(model, judge, [carriers, *strangers], metric="prob")
v_needed = needed.judge(
    ratio_of_means(gone.sel(set=0), clean),
    control=ratio_of_means(gone.sel(set=range(1, 11)).mean(), clean),
    gate=able,
)
print(v_fetch, v_needed, sep="\n")

# %% [markdown]
# The first seven are the very seven that ever write the country. On other countries the three best still write the country in
# 80 % of the prompts and more (random heads: 3 %), and without the five 0.87 of p(answer) is gone. Both hold. Do
# they pass on the country only, or the capital already?

# %%
interp.methods.lenses.write_lens(model, judge, carriers, "answer", within=10)

# %% [markdown]
# ## Do the MLPs weigh the heads?
#
# What an MLP writes at END, as a weighted sum of what the heads before it wrote, plus an intercept: one number a
# head, fitted on one half of the countries, judged on the other.

# %%
fitted = interp.replications.write_regression(model, find, "mlp.*@END", "L*H*@END", heldout=judge)
fitted.fit.plot(title="What explains an MLP's write at END, on other countries")
# %%
null = interp.replications.write_regression(
    model, find, "mlp.*@END", "L*H*@END", heldout=judge, shuffle=0
)
late_mlps = dict(of="writers beyond the intercept", layer=range(half, layers))
v_linear = linear.judge(
    measured(fitted.fit.sel(**late_mlps).mean()),
    control=measured(null.fit.sel(**late_mlps).mean()),
    gate=able,
)
v_weights = weights.judge(measured(abs(fitted.signs)), control=measured(abs(null.signs)), gate=able)
print(
    v_linear,
    v_weights,
    f"amplified {(fitted.signs > 0).mean():.2f}, erased {(fitted.signs < 0).mean():.2f}",
    sep="\n",
)

# %% [markdown]
# What an MLP writes at END is almost the same for every country: up to layer 22 the intercept alone explains more than
# 0.9, and from 23 on, where countries differ, 0.47 to 0.83. With the intercept counted, R2 would pass 0.7; but
# that is nothing the heads have earned. Beyond it they explain 0.04 in the mean of the second half; only MLP 18 (0.53)
# is in part a weighted sum of heads. From layer 23 on, just where the country arrives, nothing is explained.
#
# Single weights do differ from 1 more often than with another prompt's heads (0.14 against 0.04), and are erased more
# often than amplified (0.11 against 0.04); but that is far from half of them.
# With 19 countries many intervals are wide: the others *cannot be told* from 1, which does not say that they are 1.
# The interval of 0.14 takes head-MLP pairs for independent, which they are not: it is too narrow.
#
# ## One MLP that turns the country into its capital?
#
# The measure is the answer's logit less the country's own. An MLP is removed by giving it a mean at END: the mean
# over *the task's* prompts takes away only what differs between countries; the mean over unrelated prose also
# takes away what the MLP writes for every country alike, the paper's "intercept". The paper says neither, so
# both are parts of the claim.

# %%
prose = interp.texts.chunks(model, interp.texts.prose(), n=64, length=judge.clean.shape[1])
means = {"mean of prose": prose, "mean of the task": None}
rival = judge.against("country")
full = rival.clean_metric(model)
first = {
    k: interp.ablate(model, find.against("country"), "mlp.*@END", reference=r)
    for k, r in means.items()
}
best = {k: half + int(first[k].values[half:].argmin()) for k in means}
interp.results.stack(first, axis="mean over").sel(layer=range(1, layers)).plot(
    title="Answer over country when an MLP takes a mean (layer 0 left out)"
)
# %%
away = {k: 0 - interp.ablate(model, rival, "mlp.*@END", reference=r) for k, r in means.items()}
rest = {k: [layer for layer in range(half, layers) if layer != best[k]] for k in means}
v_redirect = redirect.judge(
    {k: ratio_of_means(away[k].sel(layer=best[k]), full) for k in means},
    gate=able,
    control={k: ratio_of_means(away[k].sel(layer=rest[k]).mean(), full) for k in means},
)
print(best, v_redirect, {k: str(v.measured) for k, v in v_redirect.parts}, sep="\n")

# %% [markdown]
# MLP 24 without its "intercept" costs three quarters of the answer's lead over the country. But when only what differs
# between countries is taken away, no MLP costs much: the chosen one, 27, costs 0.12. So what helps is mostly written
# for every country alike. Whom does MLP 24 move: the capital up, or the country down? And what do the heads write?

# %%
sides = {
    "the capital": (judge, "answer"),
    "another capital": (judge, "wrong"),
    "the country": (rival, "wrong"),
}
sides["the capital over another"] = (judge, "difference")
direct = {
    k: interp.logit_attribution(model, t, "mlp.*", toward=side).sel(layer=best["mean of prose"])
    for k, (t, side) in sides.items()
}
names = [head.split("@")[0] for head in carriers]
direct[f"the same, by {len(names)} heads"] = (
    interp.logit_attribution(model, judge).pick(names).sum("site")
)
print(
    *(f"{k}: {measured(r)} logits" for k, r in direct.items()),
    f"in all: {measured(judge.clean_metric(model))} logits",
    sep="\n",
)

# %% [markdown]
# MLP 24 raises *any* capital by 1.3 logits and lowers the country by 0.6: it says "a capital city, not the country". Of
# its 1.9 logits for the right one, 0.6 are for this capital rather than another. The five heads write ten times as
# much of that by themselves, 5.9 logits of 9.2: what they write points to the capital already, and is more than an
# argument for a later function.
#
# ## Does the last layer hold the answer back?

# %%
asked = {"capitals": judge, "languages": languages}
lens = {k: interp.logit_lens(model, t, metric="prob") for k, t in asked.items()}
interp.results.stack(lens, axis="relation").plot(
    title="p(answer) if the model ended after this layer (END)"
)
# %%
texts = {
    k: interp.texts.chunks(model, interp.texts.prose(), n=64, length=t.clean.shape[1])
    for k, t in asked.items()
}
ends = [f"attn.{last}@END", f"mlp.{last}@END"]
change = {
    f"{k}, mean of the task": interp.ablate(model, t, ends, metric="prob") for k, t in asked.items()
}
change |= {
    f"{k}, mean of prose": interp.ablate(model, t, ends, metric="prob", reference=texts[k])
    for k, t in asked.items()
}
v_back = held_back.judge({k: measured(change[k]) for k in held_back.parts}, gate=able)
print(v_back, *change.values(), sep="\n")

# %% [markdown]
# No: p(answer) jumps from 0.02 to 0.44 (capitals) and from 0.01 to 0.34 (languages) in the last layer, and removing that
# layer's attention and MLP lowers it in both relations and with both means.
#
# ## Verdicts

# %%
rows = [v_stored, v_beyond, v_fetch, v_needed, v_linear, v_weights, v_redirect, v_back]
verdicts("03-factual-recall", rows, model=model, fast=FAST)

# %% [markdown]
# ## Try it
#
# Trace the attention instead: `interp.causal_trace(model, judge, "attn.*@END", subject="SUBJECT", window=6).plot()`.
# Ask for the languages: put `languages` in the place of `judge` above. Another model: set `MODEL`.

# %%
interp.logit_lens(model, judge, "resid_post.*@END", metric="rank").plot()

# %% [markdown]
# ## What did not reproduce
#
# - **Facts in early MLPs.** The tracing result does, to the digit, and means little: layer 0 is the whole of it, it
#   restores the language as well as the capital, and without it the windows bring back 0.16 here (0.20 to 0.25 at
#   best when windows were chosen). That rest is not nothing, and whether it is knowledge we cannot say.
#   The verdict "partly" rests on 0.16 against a floor of 0.15 with an interval from 0.09 to 0.23: read it as
#   "between".
# - **Heads, then activation, then function.** Step one does. The others do not in this form: heads explain little of what
#   MLPs write, no MLP turns *this* country into *its* capital, and two of the heads (L29H1, L23H4) have the capital
#   itself in their top ten in 80 % and 67 % of the prompts. L29H1 comes after every MLP but one. The paper's models
#   are larger, up to 7B.
# - **Anti-overconfidence.** Absent: the last layer is where the answer is made. We judged the whole layer, as the
#   threshold says. A single part of it could still work against the answer.
# - **Limits.** 19 countries to find and 15 to judge, one template, one model of 135M parameters with weights unpacked
#   from four bits. More countries would sharpen the regression above all: it has up to 270 weights, and the interval
#   of its R2 includes zero. The abstract gives no numbers, so thresholds are ours. Which mean an ablation takes
#   decides the verdict on MLP 24; the paper's abstract does not say.
