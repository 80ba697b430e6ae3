"""Every family is right in every verb, or is refused with one sentence: judged by plain Hugging
Face hooks.
"""

import numpy as np
import pytest
import torch
from families import FAMILIES, PAGE, Plain, make, with_table

import interp
from interp.models.tiny_models import word_tokenizer

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3  # of the largest effect
RIGHT = [name for name, family in FAMILIES.items() if family.refused is None]
REFUSED = [name for name in FAMILIES if name not in RIGHT]
# two seconds each: `make quick` runs those whose blocks differ most
ALL = [
    name if FAMILIES[name].quick else pytest.param(name, marks=pytest.mark.slow) for name in RIGHT
]


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer()


class Pair:
    """One family twice: as `interp` loads it, and plain."""

    def __init__(self, name, tokenizer):
        self.plain = Plain(name, len(tokenizer))
        self.model = interp.load(make(name, len(tokenizer)), tokenizer=tokenizer)
        self.task = interp.tasks.ioi(self.model, n=2)
        self.layers, self.heads = range(self.plain.n_layers), range(self.plain.heads)
        self.full = [i for i in self.layers if not hasattr(self.plain.blocks[i], "linear_attn")]
        self.adds_up = FAMILIES[name].parts.adds_up
        self.clean, self.cleanly = self.plain.run(self.task.clean, output_attentions=True)
        self.patterns = dict(zip(self.full, self.plain.attentions))
        self.corrupted, self.badly = self.plain.run(self.task.corrupted)

    def metric(self, logits):
        """The logit difference at the last position [batch]."""
        end = logits[:, -1] if logits.ndim == 3 else logits
        rows = torch.arange(len(end))
        return end[rows, self.task.answers[:, 0]] - end[rows, self.task.wrong[:, 0]]

    def edited(self, edits, clean=False):
        tokens = self.task.clean if clean else self.task.corrupted
        return self.metric(self.plain.run(tokens, edits)[0])


def same(found, expected, what, largest=None):
    """Equal to a thousandth of the largest effect."""
    found, expected = torch.as_tensor(found).double(), torch.as_tensor(expected).double()
    assert found.shape == expected.shape, (what, found.shape, expected.shape)
    largest = float(expected.abs().max()) if largest is None else largest
    off = float((found - expected).abs().max())
    assert largest > 1e-5, (what, "no effect at all", largest)
    assert off <= TOLERANCE * largest, f"{what}: off by {off:.2g} where effects reach {largest:.2g}"


def put(value):
    return lambda x: value


def moved(delta):
    return lambda x: x + delta


@pytest.fixture(scope="module", params=ALL)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def family(name):
    return FAMILIES[name]


@pytest.fixture(scope="module")
def pair(name, tokenizer):
    return Pair(name, tokenizer)


def test_logits(pair):
    same(interp.run(pair.model, pair.task.clean).logits, pair.clean, "logits")
    end = interp.run(pair.model, pair.task.clean, last_only=True).logits
    same(end, pair.clean[:, -1], "logits at the last position")
    same(pair.task.clean_metric(pair.model).examples, pair.metric(pair.clean), "metric")


def test_patch_of_the_stream_and_of_writes(pair):
    base = pair.metric(pair.corrupted)
    for pattern, kind in (("attn.*", "attn"), ("mlp.*", "mlp")):
        found = interp.patch(pair.model, pair.task, pattern).examples
        expected = [
            pair.edited({(kind, i): put(pair.cleanly[kind, i])}) - base for i in pair.layers
        ]
        same(found, torch.stack(expected), pattern)
    at, rows = pair.task.positions["S2"], torch.arange(len(pair.task))

    def here(place, delta_of=None):
        def edit(x):
            x = x.clone()
            if delta_of is None:
                x[rows, at] = pair.cleanly[place][rows, at]
            else:
                x[rows, at] += delta_of[rows, at]
            return x

        return edit

    for pattern, kind in (("resid_pre.*@S2", "pre"), ("resid_post.*@S2", "post")):
        found = interp.patch(pair.model, pair.task, pattern).examples
        expected = [pair.edited({(kind, i): here((kind, i))}) - base for i in pair.layers]
        same(found, torch.stack(expected), pattern)
    if not pair.plain.parts.parallel:
        found = interp.patch(pair.model, pair.task, "resid_mid.*@S2").examples
        expected = []
        for i in pair.layers:
            now, then = (c["pre", i] + c["attn", i] for c in (pair.badly, pair.cleanly))
            expected.append(pair.edited({("attn", i): here(None, then - now)}) - base)
        same(found, torch.stack(expected), "resid_mid")


def test_patch_of_heads(pair):
    base = pair.metric(pair.corrupted)
    found = interp.patch(pair.model, pair.task, "L*H*").examples
    expected = [
        [
            pair.edited(
                {
                    ("attn", i): moved(
                        pair.plain.writes(pair.cleanly, i, h) - pair.plain.writes(pair.badly, i, h)
                    )
                }
            )
            - base
            for h in pair.heads
        ]
        for i in pair.full
    ]
    same(found, torch.stack([torch.stack(row) for row in expected]), "heads")


@pytest.mark.parametrize("part", ["q", "k", "v"])
def test_patch_inside_heads(pair, part):
    base = pair.metric(pair.corrupted)
    pattern = "L*H*.q" if part == "q" else f"L*KV*.{part}"
    found = interp.patch(pair.model, pair.task, pattern).examples
    heads = range(pair.plain.heads if part == "q" else pair.plain.kv_heads)

    def edit(layer, head):
        place, at = pair.plain.columns(part, head, layer)

        def of(x):
            x = x.clone()
            x[..., at] = pair.cleanly[place, layer][..., at]
            return x

        return {(place, layer): of}

    expected = [torch.stack([pair.edited(edit(i, h)) - base for h in heads]) for i in pair.full]
    same(found, torch.stack(expected), pattern)


def test_mean_ablation(pair):
    base = pair.metric(pair.clean)
    found = interp.ablate(pair.model, pair.task, "mlp.*").examples
    expected = [
        pair.edited({("mlp", i): lambda x: x.mean(0).expand_as(x)}, clean=True) - base
        for i in pair.layers
    ]
    same(found, torch.stack(expected), "ablation of MLPs")
    found = interp.ablate(pair.model, pair.task, "L*H*").examples
    expected = []
    for i in pair.full:
        for h in pair.heads:
            own = pair.plain.writes(pair.cleanly, i, h)
            expected.append(pair.edited({("attn", i): moved(own.mean(0) - own)}, clean=True) - base)
    same(found.reshape(-1, len(pair.task)), torch.stack(expected), "ablation of heads")


def test_logit_lens(pair):
    found = interp.logit_lens(pair.model, pair.task).examples
    expected = [pair.metric(pair.plain.logits(pair.cleanly["post", i][:, -1])) for i in pair.layers]
    if ("final", 0) in pair.cleanly:
        same(expected[-1], pair.metric(pair.clean), "the oracle's own lens")
    same(found, torch.stack(expected), "lens")


def test_attribution_adds_up(pair):
    if not pair.adds_up:
        with pytest.raises(ValueError, match="sum of what its parts write"):
            interp.logit_attribution(pair.model, pair.task, "mlp.*")
        return
    parts = [
        interp.logit_attribution(pair.model, pair.task, w) for w in ("embed", "attn.*", "mlp.*")
    ]
    total = sum(p.examples.reshape(-1, len(pair.task)).sum(0) for p in parts)
    end = pair.cleanly["final", 0][:, -1]
    with torch.no_grad():
        uncapped = pair.plain.head(pair.plain.final(end)) * float(
            pair.plain.parts.logits(torch.tensor([1e-3], dtype=torch.float64)) / 1e-3
        )
        zero = pair.plain.head(pair.plain.final(torch.zeros_like(end)))  # biases after the stream
    expected = pair.metric(uncapped) - (pair.metric(zero) if bool((zero.abs() > 0).any()) else 0)
    same(total, expected, "sum of the parts", float(pair.metric(uncapped).abs().max()))
    heads = interp.logit_attribution(pair.model, pair.task, "L*H*").examples
    attn = interp.logit_attribution(pair.model, pair.task, "attn.*").examples
    biases = pair.plain.model.config.__class__.__name__
    whole = [pair.cleanly["attn", i] for i in pair.full]
    shares = [sum(pair.plain.writes(pair.cleanly, i, h) for h in pair.heads) for i in pair.full]
    if max(float((w - s).abs().max()) for w, s in zip(whole, shares)) < 1e-4:  # no output bias
        same(heads.sum(1), attn[pair.full], f"heads are parts of attention in {biases}")


def test_path_patching(pair):
    if not pair.adds_up:
        with pytest.raises(ValueError, match="sum of what its parts write"):
            interp.path_patch(pair.model, pair.task, "mlp.0", "logits.in")
        return
    base = pair.metric(pair.corrupted)
    last, plain = pair.plain.n_layers - 1, pair.plain
    first = pair.full[0]
    sent = {
        "embed": pair.cleanly["pre", 0] - pair.badly["pre", 0],
        "mlp.0": pair.cleanly["mlp", 0] - pair.badly["mlp", 0],
    }
    if first < last:
        now, then = (plain.writes(c, first, 1) for c in (pair.badly, pair.cleanly))
        sent[f"L{first}H1"] = then - now
    to = [("logits.in", "logits", 0, None), (f"mlp.{last}.in", "mlp", last, None)]
    if last in pair.full:
        to += [
            (f"L{last}H1.q_in", "q", last, 1),
            (f"L{last}KV0.k_in", "k", last, 0),
            (f"L{last}KV0.v_in", "v", last, 0),
        ]
    for receiver, kind, layer, head in to:
        found = interp.path_patch(pair.model, pair.task, [[s] for s in sent], receiver).examples
        stream = plain.read_by(pair.badly, kind, layer)
        expected = [
            pair.edited(plain.receiver(kind, layer, head, stream + delta)) - base
            for delta in sent.values()
        ]
        same(found, torch.stack(expected), f"paths to {receiver}")
    if last in pair.full:  # the whole input of attention, which is not the MLP's
        found = interp.path_patch(pair.model, pair.task, [["embed"], ["mlp.0"]], f"attn.{last}.in")
        expected = []
        for sender in ("embed", "mlp.0"):
            stream, edits = plain.read_by(pair.badly, "q", last) + sent[sender], {}
            for kind, heads in (("q", plain.heads), ("k", plain.kv_heads), ("v", plain.kv_heads)):
                for head in range(heads):
                    edits = joined(edits, plain.receiver(kind, last, head, stream))
            expected.append(pair.edited(edits) - base)
        same(found.examples, torch.stack(expected), "paths to attention")


def joined(first, second):
    """Both edits, one after the other where they are at one place."""
    out = dict(first)
    for place, edit in second.items():
        out[place] = (lambda x, a=out[place], b=edit: b(a(x))) if place in out else edit
    return out


def test_exact_edges_and_whole_circuits(pair):
    if not pair.adds_up:
        with pytest.raises(ValueError, match="sum of what its parts write"):
            interp.discover(pair.model, pair.task, method="exact")
        return
    if pair.full != list(pair.layers):
        with pytest.raises(ValueError, match="linear attention"):
            interp.discover(pair.model, pair.task, method="exact")
        return
    plain, last = pair.plain, pair.plain.n_layers - 1
    result = interp.discover(pair.model, pair.task, method="exact", examples=True)
    row = {s: i for i, s in enumerate(result.coords["sender"])}
    column = {r: i for i, r in enumerate(result.coords["receiver"])}
    base, found, expected = pair.metric(pair.clean), [], []
    senders = {
        "embed": pair.badly["pre", 0] - pair.cleanly["pre", 0],
        "mlp.0": pair.badly["mlp", 0] - pair.cleanly["mlp", 0],
        "L0H1": plain.writes(pair.badly, 0, 1) - plain.writes(pair.cleanly, 0, 1),
    }
    receivers = [
        ("logits.in", "logits", 0, None),
        (f"mlp.{last}.in", "mlp", last, None),
        (f"L{last}H2.q_in", "q", last, 2),
        (f"L{last}KV0.k_in", "k", last, 0),
        (f"L{last}KV0.v_in", "v", last, 0),
    ]
    for sender, delta in senders.items():
        for receiver, kind, layer, head in receivers:
            stream = plain.read_by(pair.cleanly, kind, layer) + delta
            cut = pair.edited(plain.receiver(kind, layer, head, stream), clean=True)
            found.append(torch.as_tensor(result.examples[row[sender], column[receiver]]))
            expected.append(base - cut)
    same(torch.stack(found), torch.stack(expected), "exact edges")
    into = abs(np.nan_to_num(result.values[:, column[f"mlp.{last}.in"]]))
    assert into.max() > 1e-7, "an edge into an MLP is never cut"
    n_edges = int((result.values == result.values).sum())
    everything = interp.Circuit.top(result, n_edges)
    judged = interp.evaluate(pair.model, pair.task, everything, sets=1)
    value = dict(zip(judged.coords["measure"], judged.examples))
    for name, logits in (
        ("clean", pair.clean),
        ("circuit", pair.clean),
        ("corrupted", pair.corrupted),
        ("complement", pair.corrupted),
    ):
        same(value[name], pair.metric(logits), f"evaluate, {name}")


def test_estimates_of_edges_run_and_agree_in_the_small(pair):
    """EAP is the slope of what cutting an edge does: so is a run in which a thousandth of it is
    cut.
    """
    if not pair.adds_up or pair.full != list(pair.layers):
        return
    from interp.methods.circuits.edges import Edges
    from interp.methods.runs.metrics import metric_of

    eap = torch.as_tensor(interp.discover(pair.model, pair.task, method="eap").values)
    graph = Edges(pair.model, pair.task, metric_of(pair.task, None))
    there = ~eap.isnan()
    strongest = eap.nan_to_num().abs().flatten().topk(6).indices.tolist()
    size, found, expected = 1e-2, [], []
    for index in strongest:
        rows = torch.ones(2, *there.shape)
        rows.view(2, -1)[0, index] -= size
        rows.view(2, -1)[1, index] += size
        low, high = graph.cut(rows, bar=False).mean(-1)
        found.append(eap.flatten()[index].double())
        expected.append((high - low).double() / (2 * size))
    off = float((torch.stack(found) - torch.stack(expected)).abs().max())
    assert off < 2e-2 * float(torch.stack(expected).abs().max()), (found, expected)


def test_the_engine_runs_where_the_table_says_and_agrees_with_hooks(pair, family):
    """What is tested above is the engine's where there is one: hooks must give the same."""
    from interp import engine as lean

    assert (lean.find(pair.model) is not None) == family.engine, lean.why_not(pair.model)
    way = "engine" if family.engine else "hooks"
    found = interp.patch(pair.model, pair.task, "L*H*")
    assert found.metadata["backend"] == way
    if not family.engine:
        return
    hooks = interp.patch(pair.model, pair.task, "L*H*", backend="hooks")
    same(found.examples, hooks.examples, "heads, both ways")
    for method in ("eap", "exact"):
        both = [
            interp.discover(pair.model, pair.task, method=method, backend=b).values
            for b in ("engine", "hooks")
        ]
        same(*map(np.nan_to_num, both), f"{method}, both ways")


def test_attention_patterns_and_knock_out(pair):
    plain, task = pair.plain, pair.task
    found = interp.attention_patterns(pair.model, task).examples  # layer head dest src batch
    expected = torch.stack([pair.patterns[i] for i in pair.full]).permute(0, 2, 3, 4, 1)
    same(found, expected, "patterns")
    base, rows = pair.metric(pair.clean), torch.arange(len(task))

    def values(layer):  # [batch head pos d_head], as each query head reads them
        each = []
        for head in range(plain.heads):
            place, at = plain.columns("v", head * plain.kv_heads // plain.heads, layer)
            each.append(pair.cleanly[place, layer][..., at])
        return torch.stack(each, 1)

    def looking(layer, pattern):
        """The edit of z when attention of this layer is another one [batch head dest src]."""
        old = pair.patterns[layer].to(pattern)
        move = ((pattern - old) @ values(layer)).transpose(1, 2).flatten(2)
        return {("z", layer): moved(move)}

    expected, at = [], task.positions["S2"]
    for layer in pair.full:
        new = pair.patterns[layer].clone()
        end = new[:, :, -1]
        blocked = end[rows, :, at].clone()
        end = end / (1 - blocked)[..., None]
        end[rows, :, at] = 0
        new[:, :, -1] = end
        expected.append(pair.edited(looking(layer, new), clean=True) - base)
    if plain.parts.gated:  # what attention gives is multiplied by a gate before the output matrix
        return
    found = interp.attention_knockout(pair.model, task, "END", "S2").examples
    same(found, torch.stack(expected), "knock-out")
    layer = pair.full[-1]
    halved = pair.patterns[layer].clone()
    halved[:, 1] *= 0.5
    site = interp.Intervention(f"L{layer}H1.pattern", lambda act, seen: act * 0.5)
    found = pair.metric(interp.run(pair.model, task, [site]).logits) - base
    same(found, pair.edited(looking(layer, halved), clean=True) - base, "halved pattern")


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_its_own_sentence(name, tokenizer):
    with pytest.raises(ValueError) as error:
        interp.load(make(name, len(tokenizer)), tokenizer=tokenizer)
    text = str(error.value)
    assert FAMILIES[name].refused in text, text
    assert "\n" not in text and len(text) < 400


def test_linear_attention_is_refused_by_itself(tokenizer):
    """The layers around it work, and what its layer writes has an address."""
    model = interp.load(make("qwen3.5", len(tokenizer)), tokenizer=tokenizer)
    task = interp.tasks.ioi(model, n=2)
    for address in ("L0H1", "L0KV0.k", "L0H*.pattern"):
        with pytest.raises(ValueError, match="linear attention, which has no heads"):
            interp.patch(model, task, address)
    assert interp.patch(model, task, "L*H*").coords["layer"] == [1]
    assert interp.patch(model, task, "attn.*").values.shape == (2,)


def test_an_edit_where_the_model_has_no_place_is_never_dropped(tokenizer):
    """Mixtral's MLPs are experts, without neurons of one layer."""
    model = interp.load(make("mixtral", len(tokenizer)), tokenizer=tokenizer)
    task = interp.tasks.ioi(model, n=2)
    for address in ("mlp.1.pre", "mlp.1.post", "mlp.*.post#3"):
        with pytest.raises(ValueError, match="are experts"):
            interp.run(model, task, [interp.Intervention(address, lambda act, seen: act * 0)])


def test_a_model_made_from_a_configuration_loads(tokenizer):
    plain = make("olmo", len(tokenizer))
    plain.config.architectures = None
    assert (
        interp.run(interp.load(plain, tokenizer=tokenizer), torch.arange(3, 9))
        .logits.isfinite()
        .all()
    )


def test_the_documentation_has_this_table():
    """`python tests/families.py` writes it."""
    page = PAGE.read_text()
    assert page == with_table(page)


@pytest.mark.parametrize("name", ["olmo2", "olmo3", "gemma2", "gemma3"])
def test_bfloat16_is_as_near_to_float32_as_the_plain_model(name, tokenizer):
    tokens = torch.arange(3, 27).view(2, 12)
    exact = make(name, len(tokenizer))(tokens).logits
    short = make(name, len(tokenizer)).to(torch.bfloat16)
    plain = (short(tokens).logits.float() - exact).pow(2).mean().sqrt()
    model = interp.load(short, tokenizer=tokenizer)
    ours = (interp.run(model, tokens).logits.float() - exact).pow(2).mean().sqrt()
    assert ours < 1.5 * plain, (ours, plain)
    task = interp.tasks.ioi(model, n=2)
    both = [interp.patch(model, task, "L*H*", backend=b).values for b in ("engine", "hooks")]
    assert np.abs(both[0] - both[1]).max() < 0.1 * np.abs(both[1]).max()
