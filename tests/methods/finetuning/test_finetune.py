"""Fine-tuning: laws, steps by hand on the plain Hugging Face model, and what is kept in files."""

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

import interp
from interp import engine
from interp._interrupts import Interrupted
from interp.methods.finetuning import read_finetuned
from interp.models import bridge
from interp.models.tiny_models import TINY, make, word_tokenizer

sys.path.insert(0, str(Path(__file__).parents[2]))
from families import make as family

OTHERS = ["tiny-neox", "gemma2", "phi3", "qwen3", "falcon-new", "olmo2", "bloom"]
KINDS = ["tiny", "tiny-gpt2", *(pytest.param(k, marks=pytest.mark.architecture) for k in OTHERS)]
CHANGES = {
    "full": {},
    "layers": {"layers": [1]},
    "lora": {"how": "lora", "rank": 2, "matrices": ("q", "k", "v", "o", "in", "out")},
    "offsets": {"how": "offsets", "heads": ["L0H1", "L1H*"]},
}
TEXTS = ["The dog saw the cat", "Mary went to the store"]
IDS = torch.randint(5, 90, (3, 8), generator=torch.Generator().manual_seed(0))


def plain(kind, dtype="float64"):
    """A small model, and the plain Hugging Face model of the same weights beside it."""
    if kind in TINY:
        hf, tokenizer = make(kind)
    else:
        tokenizer = word_tokenizer()
        hf = family(kind, len(tokenizer)).eval()
    hf = hf.to(getattr(torch, dtype))
    return interp.load(deepcopy(hf), tokenizer=tokenizer), hf


def prompts(model, n=6):
    """Prompts of one length with answers of one token."""
    words = [" Mary", " John", " store", " dog", " cat", " river"]
    return interp.tasks.pairs(
        model,
        [f"The capital of{words[i]} is" for i in range(n)],
        answers=[words[(i + 1) % 6] for i in range(n)],
        wrong=[words[(i + 2) % 6] for i in range(n)],
    )


def options(kind, name):
    if name == "lora" and kind == "phi3":  # one matrix makes gate and up
        return CHANGES["lora"] | {"matrices": ("q", "v", "o")}
    return CHANGES[name]


def logits(model, ids=IDS):
    return interp.run(model, ids).logits


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_is_the_same_model_and_a_step_is_another(kind, name):
    model, _ = plain(kind, "float32")
    before = {key: p.clone() for key, p in model.named_parameters()}
    first = logits(model)
    task = prompts(model)
    none = interp.finetune(model, task, steps=0, **options(kind, name))
    assert torch.equal(logits(none.model), first)
    assert (
        none.sheet.sel(when="before").values.tolist()
        == none.sheet.sel(when="after").values.tolist()
    )
    some = interp.finetune(model, task, steps=3, lr=0.01, **options(kind, name))
    assert (logits(some.model) - first).abs().max() > 1e-3
    assert some.losses.values[0] != some.losses.values[-1]
    # the model itself stays as it was, and is frozen
    assert all(torch.equal(p, before[key]) for key, p in model.named_parameters())
    assert not any(p.requires_grad for one in (model, some.model) for p in one.parameters())
    assert not some.model.blocks[1].attn.o.original_component._forward_hooks
    assert len({id(p) for p in model.parameters()} & {id(p) for p in some.model.parameters()}) == 0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_by_hand_on_the_plain_model(kind, optimizer):
    model, hf = plain(kind)
    task = prompts(model)
    tuned = interp.finetune(
        model, task, heldout=TEXTS, steps=1, batch=6, lr=0.01, optimizer=optimizer
    )
    hf.requires_grad_(True)
    out = hf(task.clean).logits[:, -1]
    loss = torch.nn.functional.cross_entropy(out, task.answers[:, 0])
    loss.backward()
    with torch.no_grad():
        for p in hf.parameters():
            step = p.grad if optimizer == "sgd" else p.grad / (p.grad.abs() + 1e-8)
            p -= 0.01 * step
        wanted = hf(IDS).logits
    assert tuned.losses.values[0] == pytest.approx(float(loss.detach()), rel=1e-9)
    torch.testing.assert_close(logits(tuned.model), wanted, rtol=1e-4, atol=1e-4)


def test_the_loss_of_texts_by_hand(tiny):
    tuned = interp.finetune(tiny, TEXTS, steps=1, batch=2)
    ids = [one for one in interp.models.tokens.read_prompts(tiny, TEXTS).ids]
    nats = [
        torch.nn.functional.cross_entropy(
            logits(tiny, one[None])[0, 1:-1], one[2:], reduction="sum"
        )
        for one in ids
    ]
    by_hand = float(sum(nats)) / sum(len(one) - 2 for one in ids)
    assert tuned.losses.values[0] == pytest.approx(by_hand, rel=1e-5)
    assert tuned.heldout is None  # two texts leave none to hold out


def test_answers_of_several_tokens_are_learned_as_a_whole(tiny):
    both = [("The capital of France is", " Mary dog"), ("The river is", " John")]
    tuned = interp.finetune(tiny, both, steps=1, batch=2, heldout=[("The dog is", " cat Mary")])
    total = 0.0
    for prompt, answer in both:
        start = len(interp.models.tokens.read_prompts(tiny, prompt).ids[0])
        ids = interp.models.tokens.read_prompts(tiny, prompt + answer).ids[0]
        log_p = logits(tiny, ids[None])[0].log_softmax(-1)
        total -= sum(float(log_p[i - 1, ids[i]]) for i in range(start, len(ids)))
    assert tuned.losses.values[0] == pytest.approx(total / 3, rel=1e-5)
    held = interp.tasks.pairs(tiny, ["The dog is"], answers=[" cat Mary"])
    for when, model in (("before", tiny), ("after", tuned.model)):
        value = -held.clean_metric(model).values
        assert tuned.sheet.sel(measure="loss", when=when).values == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("name", ["layers", "lora"])
def test_only_what_was_chosen_is_changed(any_tiny, name):
    given = (
        CHANGES["layers"] if name == "layers" else {"how": "lora", "matrices": ["v"], "layers": [1]}
    )
    tuned = interp.finetune(any_tiny, prompts(any_tiny), steps=3, lr=0.01, **given)
    new = dict(tuned.model.named_parameters())
    changed = {key for key, p in any_tiny.named_parameters() if not torch.equal(p, new[key])}
    chosen = {id(p) for p in tuned.model.blocks[1].parameters()}
    if name == "lora":
        chosen = {id(bridge.linear(tuned.model, 1, "v").weight)}
        chosen |= {id(p) for one in bridge._fused(tuned.model) for p in one.sources()}
    wanted = {key for key, p in new.items() if id(p) in chosen}
    assert changed and changed <= wanted
    # the exchange of the fused projection's keys and queries would be seen here
    assert len(changed) == len(wanted) or name == "lora"


@pytest.mark.parametrize("kind", ["tiny", "tiny-gpt2"])
def test_lora_merged_is_lora_by_hand(kind):
    model, hf = plain(kind)
    tuned = interp.finetune(
        model, prompts(model), how="lora", rank=2, alpha=6, matrices=("q", "v"), steps=4, lr=0.01
    )
    learned = tuned.changes[0]
    assert set(learned) == {f"L{i}.{w}.{x}" for i in range(3) for w in "qv" for x in "AB"}
    assert tuned.n_trained == sum(v.numel() for v in learned.values())
    with torch.no_grad():
        for i in range(3):
            for at, which in ((0, "q"), (2, "v")):
                change = 3 * learned[f"L{i}.{which}.B"] @ learned[f"L{i}.{which}.A"]
                if kind == "tiny":
                    proj = getattr(hf.model.layers[i].self_attn, f"{which}_proj")
                    proj.weight += change
                else:
                    hf.transformer.h[i].attn.c_attn.weight[:, at * 32 : at * 32 + 32] += change.T
    torch.testing.assert_close(logits(tuned.model), hf(IDS).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_an_offset_is_the_intervention_that_adds_it(kind):
    model, hf = plain(kind)
    tuned = interp.finetune(model, prompts(model), steps=4, **CHANGES["offsets"])
    added = interp.run(model, IDS, tuned.interventions()).logits
    torch.testing.assert_close(logits(tuned.model), added)
    assert (added - logits(model)).abs().max() > 1e-3
    if kind == "tiny":  # and the vector before the output matrix, by hooks of torch alone

        def add(layer):
            def hook(module, args):
                x = args[0].clone()
                for name, vector in tuned.changes[0].items():
                    if name.startswith(f"L{layer}H"):
                        head = int(name.split("H")[1])
                        x[..., head * 8 : head * 8 + 8] += vector
                return (x,)

            return hook

        for i, block in enumerate(hf.model.layers):
            block.self_attn.o_proj.register_forward_pre_hook(add(i))
        torch.testing.assert_close(hf(IDS).logits, added)


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_gives_the_trained_model_again(any_tiny, name, tmp_path):
    task = prompts(any_tiny)
    tuned = interp.finetune(any_tiny, task, steps=3, lr=0.01, seed=[3, 4], **CHANGES[name])
    path = tuned.save(tmp_path / "it.safetensors")
    again = read_finetuned(path, any_tiny)
    for one, other in zip(tuned.models, again.models, strict=True):
        assert torch.equal(logits(one), logits(other))
    assert again.sheet == tuned.sheet and again.losses == tuned.losses
    assert again.heldout == tuned.heldout and again.n_trained == tuned.n_trained
    assert repr(again) == repr(tuned)
    if name == "offsets":
        assert path.stat().st_size < 20_000
    with pytest.raises(ValueError, match="whose weights are not those"):
        read_finetuned(path, interp.models.tiny(bridge.name(any_tiny), seed=1))


@pytest.mark.parametrize("name", CHANGES)
def test_the_trained_model_is_whole(any_tiny, name):
    """Every verb takes it; a fused projection holds what its parts hold."""
    task = interp.tasks.ioi(any_tiny, n=6)
    new = interp.finetune(any_tiny, task, steps=2, lr=0.01, **CHANGES[name]).model
    assert engine.find(new) is not None
    by = [interp.patch(new, task, "L*H*", backend=b).values for b in ("engine", "hooks")]
    assert abs(by[0] - by[1]).max() < 2e-4
    first = logits(new)
    for one in bridge._fused(new):
        for p in one.watch.all:
            p.data = p.data.clone()  # it is taken anew from there
    torch.testing.assert_close(logits(new), first)


def test_options_of_any_kind_of_list_are_kept(tiny, tmp_path):
    heads = (interp.Site.parse("L0H1"), "L1H*")
    for given in (
        {"how": "offsets", "heads": heads},
        {"how": "offsets", "heads": interp.Site.parse("L0H1")},
        {"how": "lora", "layers": np.arange(2), "matrices": ("q",)},
    ):
        tuned = interp.finetune(tiny, prompts(tiny), steps=1, **given)
        again = read_finetuned(tuned.save(tmp_path / "it.safetensors"), tiny)
        assert torch.equal(logits(again.model), logits(tuned.model))


def test_a_copy_of_a_model_that_ran_runs(tiny_gpt2):
    logits(tiny_gpt2)
    assert torch.equal(logits(deepcopy(tiny_gpt2)), logits(tiny_gpt2))


def test_the_sheet_by_hand(tiny):
    task, held = prompts(tiny), interp.tasks.ioi(tiny, n=5)
    texts = interp.texts.chunks(tiny, interp.texts.prose(), length=20, n=4)
    tuned = interp.finetune(tiny, task, steps=3, lr=0.01, heldout=held, other_texts=texts)
    for when, model in (("before", tiny), ("after", tuned.model)):

        def read(measure, when=when):
            return float(tuned.sheet.sel(measure=measure, when=when).values)

        out = interp.run(model, held.clean, last_only=True).logits
        right = out.gather(1, held.answers)[:, 0]
        wrong = out.gather(1, held.wrong)[:, 0]
        p = out.softmax(-1)
        assert read("accuracy") == pytest.approx(float((right > wrong).float().mean()))
        assert read("logit difference") == pytest.approx(float((right - wrong).mean()), rel=1e-5)
        both = p.gather(1, torch.cat([held.answers, held.wrong], 1)).sum(1)
        assert read("p(options)") == pytest.approx(float(both.mean()), rel=1e-4)
        one = p.gather(1, held.answers)[:, 0]
        assert read("p(answer)") == pytest.approx(float(one.mean()), rel=1e-4)
        assert read("loss") == pytest.approx(float(-one.log().mean()), rel=1e-5)
        loss = interp.methods.text.cross_entropy(model, texts).values
        assert read("other text: loss") == pytest.approx(float(loss), rel=1e-5)
    p, q = (logits(m, texts)[:, 1:].log_softmax(-1) for m in (tiny, tuned.model))
    kl = float((p.exp() * (p - q)).sum(-1).mean())
    assert float(tuned.sheet.sel(measure="other text: KL", when="after").values) == (
        pytest.approx(kl, rel=1e-3)
    )
    assert tuned.heldout.examples.shape == (6, 2, 1, 5)


def test_the_sheet_says_what_it_is_judged_on_and_how_sure_it_is(tiny, tmp_path):
    from interp._stats import bootstrap

    held = interp.tasks.ioi(tiny, n=6)
    texts = interp.texts.chunks(tiny, interp.texts.prose(), length=20, n=7)
    options = dict(steps=3, batch=2, lr=0.01, seed=[0, 1])  # the order of the prompts matters
    tuned = interp.finetune(tiny, prompts(tiny), heldout=held, other_texts=texts, **options)
    said = "judged on 6 prompts held out (6 prompts trained on); other text: 7 pieces of 20 tokens"
    assert said in repr(tuned) and said in repr(tuned.sheet) and said in tuned._repr_html_()
    assert "over the 2 seeds, not over prompts" in repr(tuned.sheet)  # Result's own brackets
    interval = tuned.sheet.metadata["interval"]
    for i, measure in enumerate(tuned.heldout.coords["measure"]):
        for k, when in enumerate(("before", "after")):
            each = tuned.heldout.examples[i, k].mean(0)  # over seeds
            wanted = None if len(set(each)) == 1 else [float(end) for end in bootstrap(each)]
            assert interval[measure][k] == (wanted and pytest.approx(wanted)), (measure, when)
    for k, model in enumerate((tiny, tuned.model)):
        losses = interp.methods.text.cross_entropy(model, texts).examples
        if k == 1:
            other = interp.methods.text.cross_entropy(tuned.models[1], texts).examples
            losses = (losses + other) / 2
        ends = [float(end) for end in bootstrap(losses)]
        assert interval["other text: loss"][k] == pytest.approx(ends, rel=1e-5)
    assert interval["other text: KL"][0] is None and interval["other text: KL"][1][0] > 0
    low, high = interval["loss"][1]
    value = float(tuned.sheet.sel(measure="loss", when="after").values)
    assert f"{value:.3f} [{low:.3f}, {high:.3f}]" in repr(tuned)
    again = read_finetuned(tuned.save(tmp_path / "it.safetensors"), tiny)
    assert repr(again) == repr(tuned)


def test_few_prompts_have_no_interval_and_none_are_held_out_in_words(tiny):
    few = interp.finetune(tiny, prompts(tiny), steps=1)
    assert "judged on 1 prompt held out (5 prompts trained on), too few for an" in repr(few)
    assert few.sheet.metadata["interval"]["loss"] == [None, None]
    pair = [("The dog is", " cat"), ("The store is", " dog")]
    none = interp.finetune(tiny, pair, steps=1)
    for text in (repr(none), repr(none.sheet), none._repr_html_()):
        assert "nothing is held out (2 prompts trained on; 5 different ones are needed)" in text
        assert "give other prompts as heldout=" in text
    texts = interp.finetune(tiny, TEXTS, steps=1, heldout=["The cat saw the dog"])
    assert "judged on 1 text held out (2 texts trained on), too few" in repr(texts)


def test_layers_are_a_range_or_numbers(tiny):
    task = prompts(tiny)
    given = ("1-2", [1, 2], np.array([2, 1]))
    a, *others = (interp.finetune(tiny, task, steps=2, lr=0.01, layers=x) for x in given)
    assert a.metadata["options"]["layers"] == [1, 2]
    for other in others:
        assert torch.equal(logits(other.model), logits(a.model))
    one = interp.finetune(tiny, task, steps=2, layers=1)
    assert one.metadata["options"]["layers"] == [1]


def test_what_is_held_out_is_not_trained_on(tiny):
    task = prompts(tiny)
    tuned = interp.finetune(tiny, task, steps=0)
    assert (tuned.metadata["trained"], tuned.metadata["judged"]) == (5, 1)
    with pytest.raises(ValueError, match="1 of the held-out prompts are trained on"):
        interp.finetune(tiny, task, heldout=task[:1])
    texts = interp.finetune(tiny, [*TEXTS, *TEXTS, "The cat ran", "The dog ran", "The store is"])
    assert texts.metadata["trained"] + texts.metadata["judged"] == 7
    assert texts.heldout.coords["measure"] == ["loss per token"]


def test_seeds_and_the_order_of_examples(tiny):
    task = prompts(tiny)
    a = interp.finetune(tiny, task, steps=4, batch=2, seed=[0, 1])
    b = interp.finetune(tiny, task, steps=4, batch=2, seed=0, heldout=None)
    assert torch.equal(logits(a.model), logits(b.model))
    assert not torch.equal(logits(a.models[0]), logits(a.models[1]))
    assert a.losses.examples.shape == (4, 2) and a.sheet.examples.shape[-1] == 2
    order = sys.modules["interp.methods.finetuning.finetune"]._order
    drawn, seen = order(5, 2, torch.Generator().manual_seed(0)), []
    for _ in range(5):
        batch = next(drawn)
        assert len(set(batch)) == 2
        seen += batch
    assert sorted(seen[:5]) == list(range(5)) and sorted(seen) == sorted([*range(5)] * 2)


def test_an_interrupt_keeps_what_was_learned(tiny, monkeypatch):
    from interp.methods.runs import sweep

    def three(items, what, **options):
        for i in items:
            if i == 3:
                raise KeyboardInterrupt
            yield i

    task = prompts(tiny)
    whole = interp.finetune(tiny, task, steps=3, batch=2, how="lora", lr=0.01)
    monkeypatch.setattr(sweep, "progress", lambda items, what: three(items, what))
    with pytest.raises(Interrupted, match="stopped after 3 of 9 steps") as stopped:
        interp.finetune(tiny, task, steps=9, batch=2, how="lora", lr=0.01, seed=[0, 1])
    part = stopped.value.result
    assert torch.equal(logits(part.model), logits(whole.model)) and len(part.models) == 1
    assert part.metadata["interrupted"] and "stopped" in repr(part)


def test_an_interrupt_in_a_step_waits_for_its_end():
    import os
    import signal

    from interp._interrupts import held_back

    done = []
    with pytest.raises(KeyboardInterrupt):
        with held_back():
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)
    assert done == [1]


@pytest.mark.parametrize(
    "given, says",
    [
        ({"how": "adapter"}, "unknown way to fine-tune 'adapter'.*full, lora, offsets"),
        ({"how": "offsets"}, "heads=None.*how='offsets', heads="),
        ({"heads": "L1H1"}, "offsets, and only they"),
        ({"how": "offsets", "heads": "mlp.1"}, "whole heads.*'mlp.1'"),
        ({"how": "offsets", "heads": "L1H9"}, "L1H9|head"),
        ({"layers": [7]}, r"layers=\[7\].*layers 0 to 2"),
        ({"layers": "all"}, "layers='all'.*layers=.10, 11."),
        ({"layers": 3}, "layers=3: no layer 3, this model has layers 0 to 2"),
        ({"layers": "1-12"}, "layers='1-12': no layer 12, this model has layers 0 to 2"),
        ({"layers": [1, 1]}, r"layers=\[1, 1\]: layer 1 is named twice"),
        ({"layers": [0.5]}, r"layers=\[0.5\]: the layers' numbers"),
        ({"how": "lora", "matrices": ("W_Q",)}, "unknown matrix 'W_Q': did you mean 'q'"),
        ({"how": "lora", "matrices": ("q_proj",)}, "'q_proj': did you mean 'q'. .known"),
        ({"how": "lora", "matrices": ("down_proj",)}, "did you mean 'out'"),
        ({"how": "lora", "matrices": ("c_attn",)}, "did you mean 'q' or 'k' or 'v'"),
        ({"how": "lora", "r": 8}, "finetune 'r': did you mean 'rank'. .*weight_decay"),
        ({"how": "lora", "target_modules": ["q"]}, "did you mean 'matrices'"),
        ({"learning_rate": 1e-4}, "did you mean 'lr'"),
        ({"how": "lora", "rank": 0}, "rank of at least 1"),
        ({"steps": -1}, "0 steps or more"),
        ({"lr": 0.0}, "number above 0"),
        ({"optimizer": "adam"}, "did you mean 'adamw'"),
        ({"seed": []}, "one seed or several"),
        ({"lr": 1e12, "steps": 9, "optimizer": "sgd"}, "smaller learning rate"),
        ({"other_texts": ["a"]}, "three or more are needed"),
    ],
)
def test_what_cannot_be_is_answered_in_a_sentence(tiny, given, says):
    with pytest.raises(ValueError, match=says):
        interp.finetune(tiny, prompts(tiny), **given)


def test_memory_and_hooks_are_looked_at_first(monkeypatch):
    from interp.models import placement

    model = interp.models.tiny()
    monkeypatch.setattr(placement, "free", lambda device: 1024.0)
    with pytest.raises(ValueError, match="of memory beside the model"):
        interp.finetune(model, prompts(model))
    monkeypatch.undo()
    model.blocks[0].hook_out.register_forward_hook(lambda module, args, out: out * 2)
    with pytest.raises(ValueError, match="a hook of yours"):
        interp.finetune(model, prompts(model), steps=1)


def test_weights_of_16_bits_learn_in_32(any_tiny):
    model = interp.load(bridge.name(any_tiny), dtype="bfloat16", progress=False)
    tuned = interp.finetune(model, prompts(model), steps=30, lr=1e-5)
    # steps that are each below the rounding of the weights add up
    assert not torch.equal(logits(tuned.model), logits(model))
    assert next(tuned.model.parameters()).dtype == torch.bfloat16
