# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Start here: who solves indirect-object identification?
#
# Paper: Wang et al. 2022, "Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small", arXiv 2211.00593
#
# Most language models continue "When Mary and John went to the store, John gave a drink to" with " Mary". Which parts of the model decide that? Before you
# read what others found, look for yourself.
#
# 4 minutes · beginner · you should know what an attention head and a logit are

# %% tags=["parameters"]
MODEL = "smollm2-135m"
FAST = False

# %%
import interp

model = interp.load(MODEL)
prompt = "When Mary and John went to the store, John gave a drink to"
interp.widgets.explore(model, prompt).wait()

# %% [markdown]
# *One question: how many heads must you take away before the model no longer says " Mary"?* Look at the list of heads that write it, click one to
# see where it looks, and type its name under "ablated heads" (`L29H1` is head 1 of layer 29; then `L29H1 L23H0`, and so on). Write your number down. Several
# sets of heads will do, so there is no one right answer; compare yours with the heads that we find below.
#
# (In a saved notebook this is a picture; with a running kernel it is the panel itself.)
#
# ## What is being asked
#
# **The question.** Somewhere in the network the repeated name must be recognised and the other one written. Wang and colleagues took GPT-2
# small apart and found 26 attention heads in seven classes, each of which works on what the classes before it wrote. Do the same classes exist in another model,
# of another family, that runs on a laptop?
#
# **How we look.** We *find* heads on one set of prompts and *judge* them on another, with other names, places and objects.
# Beside every set of heads stand random heads from the same layers.
#
# **What we found.** Three heads write as much as the whole logit difference and two write a third of it in the opposite direction, as in GPT-2. Two heads at
# the end of the sentence, L20H0 and L19H2, decide where the writers look. But the strongest writer moves no name: L23H3 looks at the repeated name and pushes
# it down, so the answer wins because its rival loses.
#
# ## The task
#
# The panel compared " Mary" with the second-likeliest token, " the". Which *name* is said is a narrower question, and it needs pairs of prompts.
# A clean prompt has an indirect object (IO), which is the answer, and a subject that comes twice (S1, S2); S1+1 is the word after S1, and END is the last
# word, after which the answer is due. The corrupted twin has three unrelated names in the same places (the paper's ABC prompts). The measure is the *logit
# difference*: the logit of the IO's name minus that of the subject's.

# %%
from interp.methods.attention import attention_between
from interp.methods.runs import attention_metric, random_heads
from interp.results import mean_of
from interp.studies import gate, load_claims, measured, ratio_of_means, verdicts

n = 12 if FAST else 32
find = interp.tasks.ioi(model, n=n, seed=0, corruption="abc")
judge = find.heldout()
find.show()

# %%
behaviour = judge.behaviour(model).sel(prompts="clean")
above = measured(behaviour.sel(measure="answer above wrong"))
able = gate("share of prompts with IO above S", above, at_least=0.95)
print(able)

# %% [markdown]
# ## Where is the answer?
#
# We put the clean run's residual stream into the corrupted run, one layer and position at a time (denoising). Here
# the corrupted prompt repeats the *other* name, so only S2 differs between the two.
#
# *Before you run the next cell: at which word does the information start, at which must it end, and what lies between?*

# %%
swapped = interp.tasks.ioi(model, n=n, seed=0, corruption="swap")
patched = interp.patch(model, swapped, "resid_pre.*@*", unit="fraction")
patched.plot(title="Answer restored, by layer and token", centred=False)

# %% [markdown]
# It starts at S2, where the prompts differ, stays there for twenty layers, and is carried to END between layers 20 and 24. Something at END must read S2, and
# something else must turn what was read into a name. (The three labels name the cells with the largest values.)
#
# A note on the first token. Whatever stands first is turned into an *attention sink*: its residual stream grows a hundred times larger than any other
# (notebook 02 measures it), and most heads rest on it when they have nothing to do. A word in that place loses its content. So every task here puts
# `<|im_start|>` first, and leaves that position out of every mean.
#
# ## The claims
#
# | | the authors | here |
# | --- | --- | --- |
# | model | GPT-2 small, 144 heads | SmolLM2-135M-Instruct, 270 heads that share keys and values in threes |
# | heads are found by | path patching, class by class | direct attribution, patching, and scores on random tokens |
# | heads are judged on | the same distribution of prompts | other names, places and objects |
# | beside them | | 10 random sets of as many heads from the same layers |

# %%
claims = load_claims("00-start-here")
claims

# %% [markdown]
# ## Name movers, and their opponents
#
# Which heads write the logit difference themselves? Direct logit attribution splits it exactly into what each head and MLP adds.

# %% tags=["cover"]
direct = interp.logit_attribution(model, find)
movers, opponents = direct.top(3, by="high").labels, direct.top(2, by="low").labels
direct.plot(
    title="Logit difference that each head writes",
    marks={"name movers": direct.cells(movers), "negative name movers": direct.cells(opponents)},
)
# %% [markdown]
# Do they look at the indirect object? Here is the attention from END, on prompts that did not choose them:

# %%
to_io = attention_between(model, judge, "END", "IO")
to_s = attention_between(model, judge, "END", "S1")
to_s2 = attention_between(model, judge, "END", "S2")
writers = [*movers, *opponents]
held = interp.logit_attribution(model, judge)
total = judge.with_metric("logit_diff").clean_metric(model)
strangers = random_heads(model, movers)
v_write = claims["movers-write"].judge(
    ratio_of_means(held.pick(movers).sum("site"), total),
    gate=able,
    control=ratio_of_means(mean_of([held.pick(s).sum("site") for s in strangers]), total),
)
looks = to_io - to_s
v_look = claims["movers-look"].judge(
    measured(looks.pick(movers).mean()),
    gate=able,
    control=measured(mean_of([looks.pick(s).mean() for s in strangers])),
)
others = random_heads(model, opponents)
v_negative = claims["negative-movers"].judge(
    ratio_of_means(held.pick(opponents).sum("site"), total),
    gate=able,
    control=ratio_of_means(mean_of([held.pick(s).sum("site") for s in others]), total),
)
print(v_write, v_look, v_negative, sep="\n")

# %% [markdown]
# The three write as much as the whole logit difference (0.995 of it), two others write against it (-0.337), and what is missing comes from all the other heads
# and the MLPs. But the three do not clearly look where name movers should: on average they look at the indirect object more than at S1 by 0.126 of their
# attention, and random heads by 0.112. What does each of them add to each of the two names?

# %%
toward = {
    "to the indirect object": interp.logit_attribution(model, judge, toward="answer"),
    "to the subject": interp.logit_attribution(model, judge, toward="wrong"),
}
for head in writers:
    added = {name: r.pick([head]).values.ravel()[0] for name, r in toward.items()}
    at = {
        name: r.pick([head]).values.ravel()[0]
        for name, r in (("IO", to_io), ("S1", to_s), ("S2", to_s2))
    }
    print(
        f"{head}: adds",
        *(f"{value:+.2f} {name}," for name, value in added.items()),
        "attention",
        *(f"{value:.2f} to {name}" for name, value in at.items()),
    )

# %% [markdown]
# Only `L23H0` is a name mover as the paper has it: it looks at the indirect object and raises it. `L23H3`, the strongest of the three, looks at S2 and *lowers
# the subject*. `L29H1` raises the answer, but it looks at none of the names: what it writes must have reached END before. (We looked at this after the verdicts
# above; it carries none of its own.)
#
# ## S-inhibition: who tells the writers where to look?
#
# Replace each head's output at END by its value on the ABC prompts, and watch not the logits but the *writers'
# attention*: how much more they look at the IO than at S1.

# %%
look = attention_metric(movers, "IO", minus="S1", task=find)
steering = interp.patch(model, find, "L*H*@END", direction="noising", metric=look)
inhibitors = [h for h in steering.top(7, by="low").labels if h.split("@")[0] not in movers][:4]
steering.plot(
    title="Change of the writers' attention to IO over S1 without each head",
    marks={"S-inhibition": steering.cells(inhibitors)},
)
# %%
look = attention_metric(movers, "IO", minus="S1", task=judge)
options = dict(direction="noising", metric=look, unit="fraction")
left = interp.patch(model, judge, [inhibitors, *random_heads(model, inhibitors)], **options)
v_inhibition = claims["s-inhibition"].judge(
    measured(left.sel(set=0)), control=measured(left.sel(set=range(1, 11)).mean()), gate=able
)
print(inhibitors, v_inhibition)

# %% [markdown]
# Without the four, nothing is left of the writers' preference for the right name. In the map, two of them (L20H0 and L19H2) do nearly all of it; we took four
# because the paper has four. The preference itself is small, as we saw, and it is nearly all that of L23H0.
#
# ## Duplicate-token, induction and previous-token heads
#
# These are named by what they do on *random* repeated tokens, which know nothing of names. Do the same heads do
# their work here, at the places that the paper gives?

# %%
general = interp.head_scores(model)
places = {
    "duplicate-token": ("S2", "S1"),
    "induction": ("S2", "S1+1"),
    "previous-token": ("S1+1", "S1"),
}
early = {s: general.sel(score=s).top(3, by="high").labels for s in places}
seen = {s: attention_between(model, judge, *places[s]) for s in early}
strangers = {s: random_heads(model, early[s]) for s in early}
v_early = claims["early-heads-look"].judge(
    {s: measured(seen[s].pick(early[s]).mean()) for s in early},
    gate=able,
    control={s: measured(mean_of([seen[s].pick(r).mean() for r in strangers[s]])) for s in early},
)
print(v_early, *(f"{s}: {', '.join(early[s])}: {v.measured}" for s, v in v_early.parts), sep="\n")

# %%
there = {s: [f"{h}@{places[s][0]}" for h in early[s]] for s in early}
options = dict(direction="noising", unit="fraction")
left = {
    s: interp.patch(model, judge, [there[s], *random_heads(model, there[s])], **options)
    for s in early
}
v_matter = claims["early-heads-matter"].judge(
    {s: measured(left[s].sel(set=0)) for s in early},
    gate=able,
    control={s: measured(left[s].sel(set=range(1, 11)).mean()) for s in early},
)
kept = [v.measured for _, v in v_matter.parts]
interp.plots.bars(
    [one.value for one in kept],
    list(early),
    interval=([one.low for one in kept], [one.high for one in kept]),
    unit="share left (1: clean)",
    title="Logit difference left without three early heads",
)
print(v_matter)

# %% [markdown]
# All three classes look where the paper says, far more than random heads do. What they write matters unequally: without the three induction heads only half of
# the logit difference is left (0.54), without the previous-token heads 0.81, and without the duplicate-token heads 0.92.
#
# ## Verdicts

# %%
verdicts(
    "00-start-here",
    [v_write, v_look, v_negative, v_inhibition, v_early, v_matter],
    model=model,
    fast=FAST,
)

# %% [markdown]
# ## What to remember
#
# - A behaviour that looks like one step is a chain: heads that notice the repetition, heads that pass it to the end of the sentence, heads that write.
# - The roles carry over from GPT-2 to another family of models better than the mechanism does. The strongest writer here suppresses the
#   wrong name instead of moving the right one.
# - A set of heads means little without random heads of the same layers beside it, and without prompts that did not choose it.
#
# ## Try it
#
# Ablate any heads you like and read the logit difference: `interp.ablate(model, judge, ["L23H3", "L17H4"])`.
# Ask which heads restore the answer by themselves: `interp.patch(model, judge, "L*H*").top(10)`.
# Do the S-inhibition heads look at S2? `attention_between(model, judge, "END", "S2").pick(["L20H0", "L19H2"])`.
# Set `MODEL` above to try another model. The next cell takes the three writers away together:

# %%
interp.ablate(model, judge, movers)

# %% [markdown]
# ## What did not reproduce, and what we cannot say
#
# - **The strongest writer moves no name.** In GPT-2 small the heads with the largest direct effect look at the indirect object and copy it. Here only
#   L23H0 does, and the three together prefer the indirect object hardly more than random heads of the same layers do. That verdict is narrow: another run may
#   say *partly*.
# - **Previous-token and duplicate-token heads matter less than we asked for.** They do attend where they should, but 0.81 and 0.92 of the logit difference is
#   left without them (the first of the two is narrow: the limit was 0.8). Another three of each class might do more: these were chosen on random tokens, as the
#   claim says, not for their effect here.
# - **One part of a quote was not tested.** Of the S-inhibition heads we tested that the writers' attention depends on them, and not that they look at S2.
# - **The sizes of the sets come from the paper** (three name movers, two negative ones, four S-inhibition heads). We did not search for the smallest circuit,
#   for backup name movers, or for single paths between heads.
# - The weights here were stored in four bits and unpacked, so numbers may differ a little from the original model's.
#
# ## Further reading
#
# - McDougall et al. 2023, "Copy Suppression: Comprehensively Understanding an Attention Head", arXiv 2310.04625: a head that pushes repeated names down in
#   GPT-2 small.
# - Study 05 of this collection: how much of this circuit a second task uses.
