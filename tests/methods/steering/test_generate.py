"""Writing text under interventions, and patchscopes: against Hugging Face's own generation and
loops by hand.
"""

import numpy as np
import pytest
import torch

import interp
from interp.interventions import Intervention, run
from interp.methods.steering.direction import Direction
from interp.tasks.task import encode

TEXT = "Mary went to the store and gave"


@pytest.fixture
def push(any_tiny):
    vector = torch.randn(32, generator=torch.Generator().manual_seed(0)) * 2
    return Direction(vector, "resid_post.1@-1")


def ids(model, text=TEXT):
    return torch.tensor([encode(model.tokenizer, text)])


def theirs(model, tokens, n, **options):
    plain = model.original_model
    out = plain.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=n,
        do_sample=False,
        pad_token_id=2,
        **options,
    )
    return out[0, tokens.shape[1] :]


def blocks(model):
    inner = model.original_model
    for name in ("model", "transformer", "gpt_neox"):
        inner = getattr(inner, name, inner)
    return getattr(inner, "layers", None) or inner.h


def test_without_interventions_it_is_hugging_faces_greedy_text(any_tiny):
    new = theirs(any_tiny, ids(any_tiny), 12)
    ours = interp.generate(any_tiny, TEXT, max_new_tokens=12)
    kept = new[new != any_tiny.tokenizer.eos_token_id]
    assert ours.tokens.tolist() == kept.tolist() and ours.text == any_tiny.tokenizer.decode(kept)
    assert (
        ours.prompt.endswith(TEXT)
        and ours.text in repr(ours)
        and ours.text in ours._repr_html_().replace("&#x27;", "'")
    )


def test_the_default_model_writes_what_hugging_face_writes(smollm2):
    text = "The capital of France is"
    new = theirs(smollm2, ids(smollm2, text), 8)
    ours = interp.generate(smollm2, text, max_new_tokens=8)
    assert (
        ours.tokens.tolist() == [t for t in new.tolist() if t != smollm2.tokenizer.eos_token_id]
        and "Paris" in ours.text
    )


def test_an_edit_of_the_newest_token_is_a_hook_on_a_model_that_keeps_its_keys(any_tiny, push):
    def hook(
        module, args, out
    ):  # each pass shows the tokens that are new: all of the prompt, then one at a time
        stream = (out[0] if isinstance(out, tuple) else out).clone()
        stream[:, -1] += push.vector
        return (stream, *out[1:]) if isinstance(out, tuple) else stream

    handle = blocks(any_tiny)[1].register_forward_hook(hook)
    try:
        new = theirs(any_tiny, ids(any_tiny), 10, use_cache=True)
    finally:
        handle.remove()
    ours = interp.generate(any_tiny, TEXT, [push.push()], max_new_tokens=10).tokens.tolist()
    assert ours == [t for t in new.tolist() if t != any_tiny.tokenizer.eos_token_id]
    assert ours != interp.generate(any_tiny, TEXT, max_new_tokens=10).tokens.tolist()


@pytest.mark.parametrize("every_token", [True, False])
@pytest.mark.parametrize(
    "at", ["resid_post.1@-1", "resid_post.1@END", "resid_post.1", "resid_post.1@3", "L1H2.z"]
)
def test_text_under_an_edit_is_a_loop_by_hand(any_tiny, push, at, every_token):
    def edit(act, seen):
        return act + push.vector[: act.shape[-1]]

    tokens, prompt = ids(any_tiny), ids(any_tiny).shape[1]
    for _ in range(6):
        if at.endswith(("@-1", "@END")):
            places = [
                f"resid_post.1@{p}"
                for p in range(prompt - 1, tokens.shape[1] if every_token else prompt)
            ]
        elif "@" in at:
            places = [at]
        else:
            places = [f"{at}@{p}" for p in range(tokens.shape[1] if every_token else prompt)]
        logits = run(any_tiny, tokens, [Intervention(p, edit) for p in places]).logits
        tokens = torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], 1)
    ours = interp.generate(
        any_tiny, TEXT, [Intervention(at, edit)], max_new_tokens=6, every_token=every_token
    )
    new = tokens[0, prompt:].tolist()
    stop = any_tiny.tokenizer.eos_token_id
    assert ours.tokens.tolist() == (new[: new.index(stop)] if stop in new else new)


def test_several_prompts_are_written_as_each_alone(any_tiny, push):
    texts = ["the dog", TEXT, "a cat"]
    for options in (dict(), dict(temperature=1.0, seed=3)):
        together = interp.generate(any_tiny, texts, [push.push()], max_new_tokens=5, **options)
        alone = [
            interp.generate(any_tiny, t, [push.push()], max_new_tokens=5, **options) for t in texts
        ]
        assert [g.tokens.tolist() for g in together] == [g.tokens.tolist() for g in alone]
    assert len(interp.generate(any_tiny, ids(any_tiny), max_new_tokens=1)) == 1


def test_sampling_is_seeded_and_cold_sampling_is_greedy(any_tiny):
    def write(**o):
        return interp.generate(any_tiny, TEXT, max_new_tokens=8, **o).tokens.tolist()

    assert (
        write(temperature=2.0, seed=1)
        == write(temperature=2.0, seed=1)
        != write(temperature=2.0, seed=2)
    )
    assert write(temperature=1e-4) == write()


def test_it_stops_at_the_end_token(any_tiny):
    stop = any_tiny.tokenizer.eos_token_id
    force = Intervention(
        "logits",
        lambda act, seen: (
            torch.nn.functional.one_hot(torch.tensor(stop), act.shape[-1]).float().expand(act.shape)
        ),
    )
    ended = interp.generate(any_tiny, TEXT, [force])
    assert ended.ended and ended.text == "" and len(ended.tokens) == 0


# --- patchscopes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("site", ["resid_post.1@-1", "resid_pre.2@3", "mlp.0@-1", "L1H0.z@2"])
def test_a_prompt_put_into_itself_says_what_it_says(any_tiny, site):
    said = interp.patchscope(any_tiny, TEXT, TEXT, source=site, target=site, max_new_tokens=6)
    plain = interp.generate(any_tiny, TEXT, max_new_tokens=6)
    assert (
        list(said.texts.values()) == [any_tiny.tokenizer.decode(theirs_or_ours(any_tiny, 6))]
        and plain.text in said.texts[f"{site} to {site}"]
    )
    p = run(any_tiny, ids(any_tiny)).logits[0, -1].softmax(-1).max()
    assert float(said.result.values) == pytest.approx(float(p), abs=1e-5)


def theirs_or_ours(model, n):
    tokens = ids(model)
    for _ in range(n):
        tokens = torch.cat([tokens, run(model, tokens).logits[:, -1].argmax(-1, keepdim=True)], 1)
    return tokens[0, ids(model).shape[1] :]


def test_a_sweep_is_each_pair_alone(any_tiny):
    answer = " store"
    swept = interp.patchscope(
        any_tiny,
        TEXT,
        source="resid_post.*@-1",
        target="resid_post.*@-2",
        layers=[0, 2],
        answer=answer,
    )
    assert (
        swept.result.dims == ("source", "target")
        and swept.result.coords["source"] == [0, 2]
        and len(swept.texts) == 4
    )
    source = run(any_tiny, ids(any_tiny), keep=["resid_post.2@-1"]).kept["resid_post.2@-1"]
    from interp.methods.lenses.patchscope import IDENTITY

    put = Intervention("resid_post.0@-2", lambda act, seen: source[:, None])
    logits = run(any_tiny, ids(any_tiny, IDENTITY), [put]).logits[0, -1]
    asked = ids(any_tiny, answer)[0, -1]
    assert float(swept.result.sel(source=2, target=0).values) == pytest.approx(
        float(logits.softmax(-1)[asked]), abs=1e-5
    )
    alone = interp.patchscope(
        any_tiny, TEXT, source="resid_post.2@-1", target="resid_post.0@-2", answer=answer
    )
    assert (
        alone.texts["resid_post.2@-1 to resid_post.0@-2"]
        == swept.texts["resid_post.2@-1 to resid_post.0@-2"]
    )
    assert "resid_post.2@-1" in repr(swept) and "<table>" in swept._repr_html_()
    np.testing.assert_allclose(
        alone.result.values, swept.result.sel(source=2, target=0).values, atol=1e-5
    )


# --- wrong input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: interp.generate(m, []), "no prompts"),
        (lambda m: interp.generate(m, ""), "empty prompt"),
        (lambda m: interp.generate(m, TEXT, max_new_tokens=0), "at least 1"),
        (lambda m: interp.generate(m, TEXT, temperature=-1.0), "at least 0"),
        (lambda m: interp.generate(m, TEXT, max_new_tokens=999), "at most 256"),
        (
            lambda m: interp.generate(m, TEXT, [Intervention("mlp.0@S2", lambda a, s: a)]),
            "unknown position",
        ),
        (
            lambda m: interp.generate(m, TEXT, [Intervention("mlp.0@40", lambda a, s: a)]),
            "no position 40",
        ),
        (
            lambda m: interp.generate(
                m, ["the dog", TEXT], [Intervention("mlp.0", lambda a, s: a, rows=slice(0, 1))]
            ),
            "one length",
        ),
        (
            lambda m: interp.patchscope(
                m, ["the dog", "a cat"], source="mlp.0@-1", target="mlp.0@-1"
            ),
            "one source prompt",
        ),
        (
            lambda m: interp.patchscope(m, TEXT, source="resid_post.1", target="resid_post.1@-1"),
            "one token",
        ),
        (
            lambda m: interp.patchscope(m, TEXT, source="L*H*@-1", target="resid_post.1@-1"),
            "one token",
        ),
        (lambda m: interp.patchscope(m, TEXT), "layers 0 to 2"),
        (
            lambda m: interp.patchscope(
                m, TEXT, source="resid_post.*@-1", target="mlp.0@-2", layers=[7]
            ),
            "layers 0 to 2",
        ),
        (lambda m: interp.patchscope(m, TEXT, source="L0H0.z@-1", target="mlp.0@-2"), "numbers"),
    ],
)
def test_wrong_input_is_one_sentence(any_tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(any_tiny)
