"""Own prompts: every number is that of the prompt run alone, answers are scored whole,
and halves share nothing.
"""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

import interp
from interp.models.tiny_models import word_tokenizer
from interp.tasks.task import MixedTask, encode

CLEAN = [
    "When Mary and John went to the store, John gave a drink to",
    "After a while Mary and John went to the store, John gave a drink to",
    "When Mary and Tom went to the store, Tom gave a ring to",
]
CORRUPTED = [
    "When Mary and John went to the store, Mary gave a drink to",
    "After a while Mary and John went to the store, Mary gave a drink to",
    "When Mary and Tom went to the store, Mary gave a ring to",
]
PLACES = {"IO": re.compile("Mary"), "S2": re.compile(r"(\w+) gave")}


def several_lengths(model):
    """Prompts of 15 and 17 tokens, answers of one."""
    wrong = [" John", " John", " Tom"]
    return interp.tasks.pairs(model, CLEAN, CORRUPTED, [" Mary"] * 3, wrong, PLACES)


def whole_answers(model):
    """The same with answers of one, two and three tokens."""
    answers, wrong = [" Mary and", " Mary", " Tom and John"], [" John", " John and Tom", " Mary"]
    return interp.tasks.pairs(model, CLEAN, CORRUPTED, answers, wrong, PLACES)


def alone(task, of):
    """What a verb gives for each prompt by itself, put together."""
    return np.stack([of(task[i]).examples[..., 0] for i in range(len(task))], -1)


ZERO = [interp.Intervention("L1H*", interp.edits.zero())]
VERBS = {
    "patch": lambda m, t: interp.patch(m, t, "L*H*"),
    "patch at a name": lambda m, t: interp.patch(m, t, "resid_pre.*@S2", direction="noising"),
    "patch groups": lambda m, t: interp.patch(m, t, {"first": ["L0H0", "L0H1"], "last": "L2H*"}),
    "ablate": lambda m, t: interp.ablate(m, t, "L*H*", by="zero"),
    "ablate to others": lambda m, t: interp.ablate(m, t, "L*H*", reference=CLEAN),
    "path_patch": lambda m, t: interp.path_patch(m, t, "L*H*", "logits.in"),
    "attribution_patch": lambda m, t: interp.attribution_patch(m, t, "L*H*"),
    "integrated": lambda m, t: interp.attribution_patch(m, t, "mlp.*.post#*@END", method="ig"),
    "logit_lens": lambda m, t: interp.logit_lens(m, t),
    "logit_attribution": lambda m, t: interp.logit_attribution(m, t),
    "knockout": lambda m, t: interp.attention_knockout(m, t, "END", {"io": "IO", "s2": "S2"}),
    "effect": lambda m, t: interp.effect(m, t, ZERO),
    "steer": lambda m, t: interp.steer(m, t, interp.Direction(torch.ones(32), "resid_post.1@END")),
    "attention_between": lambda m, t: interp.methods.attention.attention_between(m, t, "END", "IO"),
    "cross_entropy": lambda m, t: interp.methods.text.cross_entropy(m, t),
    "activation_norms": lambda m, t: interp.methods.attention.activation_norms(m, t, "L*KV*.v@END"),
    "residual_norms": lambda m, t: interp.methods.attention.residual_norms(m, t, "resid_post.*@S2"),
    "head_scores": lambda m, t: interp.head_scores(m, ["entropy", "waad"], on=t),
    "clean metric": lambda m, t: t.clean_metric(m),
    "behaviour": lambda m, t: t.behaviour(m),
    "kl": lambda m, t: interp.patch(m, t, "L*H*", metric=interp.methods.runs.kl_metric(m, t)),
    "attention_metric": lambda m, t: interp.patch(
        m, t, "L0H*@END", metric=interp.methods.runs.attention_metric(["L1H1"], "IO", task=t)
    ),
    "own metric": lambda m, t: interp.ablate(
        m, t, "L*H*", by="zero", metric=lambda logits: logits.logsumexp(-1)
    ),
    "relative": lambda m, t: interp.effect(
        m, t, ZERO, unit="relative", metric=lambda logits: logits.exp().sum(-1)
    ),
    **{
        method: lambda m, t, method=method: interp.discover(m, t, method, examples=True)
        for method in ("eap", "eap_ig", "exact", "magnitude", "information_flow", "acdc")
    },
    "eap, nothing": lambda m, t: interp.discover(m, t, "eap", by="zero", examples=True),
}
SUMS = {"kl", "attention_metric", "own metric", "relative"}


@pytest.mark.parametrize("make", [several_lengths, whole_answers])
@pytest.mark.parametrize("verb", VERBS)
def test_every_number_is_that_of_the_prompt_run_alone(tiny, make, verb):
    if verb == "acdc":
        pytest.skip("what ACDC cuts depends on all prompts together: see the test below")
    task, of = make(tiny), VERBS[verb]
    assert isinstance(task, MixedTask)
    together, each = of(tiny, task), alone(task, lambda one: of(tiny, one))
    np.testing.assert_allclose(together.examples, each, atol=2e-5, rtol=1e-4)
    assert np.nanmax(np.abs(each)) > 1e-3  # the law says something
    if make is several_lengths and "lengths" in together.metadata:
        assert together.metadata["lengths"] == {"15": 2, "17": 1} and together.metadata["n"] == 3


def test_the_hooks_give_the_same_for_several_lengths(any_tiny):
    for task in (several_lengths(any_tiny), whole_answers(any_tiny)):
        for verb in (
            lambda backend, t=task: interp.patch(any_tiny, t, "L*H*@END", backend=backend),
            lambda backend, t=task: interp.discover(
                any_tiny, t, "eap_ig", examples=True, backend=backend
            ),
        ):
            np.testing.assert_allclose(
                verb("engine").examples, verb("hooks").examples, atol=2e-4, rtol=1e-3
            )


def test_fractions_are_of_the_whole_task(tiny):
    task = several_lengths(tiny)
    plain = interp.patch(tiny, task, "L*H*")
    clean, corrupted = plain.metadata["clean"], plain.metadata["corrupted"]
    assert clean == pytest.approx(float(task.clean_metric(tiny).values), abs=1e-5)
    for direction in ("denoising", "noising"):
        effects = interp.patch(tiny, task, "L*H*", direction=direction)
        shares = interp.patch(tiny, task, "L*H*", direction=direction, unit="fraction")
        want = effects.values / (clean - corrupted) + (direction == "noising")
        np.testing.assert_allclose(shares.values, want, rtol=1e-4, atol=1e-5)
        assert shares.unit == "fraction (0 corrupted, 1 clean)"
        everything = interp.patch(tiny, task, "resid_pre.0", direction=direction, unit="fraction")
        np.testing.assert_allclose(everything.examples, direction == "denoising", atol=1e-3)
    # noise has a corrupted run of its own for each prompt: the fraction restores it whole as well
    whole = interp.causal_trace(
        tiny, task, "resid_pre.0", subject="END", samples=2, unit="fraction"
    )
    np.testing.assert_allclose(whole.examples, 1, atol=1e-3)


def test_faithfulness_of_several_lengths_is_a_ratio_of_means_over_all_prompts(tiny):
    task = several_lengths(tiny)
    circuit = interp.Circuit.top(interp.discover(tiny, task), 30)
    found = interp.evaluate(tiny, task, circuit, sets=2)
    rows = {}
    for size, one in task.by_length().items():
        rows[size] = interp.evaluate(tiny, one, circuit, sets=2).sel(
            measure=["clean", "corrupted", "circuit"]
        )
    order = [0, 2, 1]  # by length: prompts 0 and 2, then 1
    raw = np.concatenate([rows[15].examples, rows[17].examples], -1)[:, np.argsort(order)]
    got = found.sel(measure=["clean", "corrupted", "circuit"]).examples
    np.testing.assert_allclose(got, raw, atol=1e-5)
    clean, corrupted, kept = raw.mean(-1)
    want = (kept - corrupted) / (clean - corrupted)
    assert found.sel(measure="faithfulness").values == pytest.approx(want, abs=1e-5)
    whole = interp.Circuit.of(circuit | ~circuit, like=circuit)
    everything = interp.evaluate(tiny, task, whole, sets=1).sel(measure="faithfulness")
    assert everything.values == pytest.approx(1, abs=1e-4)


def test_acdc_and_curves_take_several_lengths(tiny):
    task = several_lengths(tiny)
    found = interp.discover(tiny, task, "acdc", tau=0.1, among=20)
    assert (
        found.metadata["n"] == 3 and np.isfinite(found.values[found.values == found.values]).all()
    )
    curve = interp.faithfulness_curve(tiny, task, interp.discover(tiny, task), (5, 50), sets=1)
    assert curve.examples.shape[-1] == 3
    greedy_ablation = interp.methods.ablation.greedy_ablation
    assert greedy_ablation(tiny, task, "L*H*", steps=2, by="zero").examples.shape == (2, 3)


# --- answers of several tokens -----------------------------------------------------------------


def by_hand(model, prompt, answer):
    """The log-probability of an answer, its tokens one after another, off one plain run."""
    ids = encode(model.tokenizer, prompt)
    more = model.tokenizer(answer, add_special_tokens=False).input_ids
    logits = interp.run(model, torch.tensor([ids + more])).logits[0].log_softmax(-1)
    return sum(float(logits[len(ids) - 1 + k, token]) for k, token in enumerate(more))


def test_a_whole_answer_is_scored_by_teacher_forcing(any_tiny):
    task = whole_answers(any_tiny).with_metric("log_prob")
    answers = [" Mary and", " Mary", " Tom and John"]
    want = [by_hand(any_tiny, prompt, answer) for prompt, answer in zip(CLEAN, answers)]
    np.testing.assert_allclose(task.clean_metric(any_tiny).examples, want, atol=1e-4)
    wrong = [" John", " John and Tom", " Mary"]
    difference = [a - by_hand(any_tiny, p, w) for a, p, w in zip(want, CLEAN, wrong)]
    got = task.with_metric("logit_diff").clean_metric(any_tiny)
    np.testing.assert_allclose(got.examples, difference, atol=1e-4)
    assert "whole answer" in got.name and got.unit == "nats"


def test_patching_a_whole_answer_is_one_run_with_the_answer_forced(tiny):
    """Against one run over prompt and answer, read at each token of the answer."""
    task = interp.tasks.pairs(tiny, CLEAN[:1], CORRUPTED[:1], [" Mary and John"])
    more = tiny.tokenizer(" Mary and John", add_special_tokens=False).input_ids
    ids = [torch.tensor([encode(tiny.tokenizer, t) + more]) for t in (CLEAN[0], CORRUPTED[0])]
    start = ids[0].shape[1] - len(more)
    source = interp.run(tiny, ids[0], keep=["L1H2"]).kept["L1H2"]

    def score(edits):
        logits = interp.run(tiny, ids[1], edits).logits[0].log_softmax(-1)
        return sum(float(logits[start - 1 + k, token]) for k, token in enumerate(more))

    edit = interp.Intervention("L1H2", interp.edits.set_to(source))
    want = score([edit]) - score([])
    assert float(interp.patch(tiny, task, ["L1H2"]).values) == pytest.approx(want, abs=1e-4)
    at_end = interp.Intervention(
        f"L1H2@{start - 1}", interp.edits.set_to(source[:, start - 1, None])
    )
    want = score([at_end]) - score([])
    assert float(interp.patch(tiny, task, ["L1H2@END"]).values) == pytest.approx(want, abs=1e-4)


def test_behaviour_of_whole_answers_by_hand(tiny):
    task = whole_answers(tiny)
    found = task.behaviour(tiny).sel(prompts="clean")
    rows = zip(CLEAN, [" Mary and", " Mary", " Tom and John"], [" John", " John and Tom", " Mary"])
    above = [by_hand(tiny, p, a) > by_hand(tiny, p, w) for p, a, w in rows]
    assert found.sel(measure="answer above wrong").examples.tolist() == above
    best = interp.generate(tiny, CLEAN[0], max_new_tokens=3).tokens.tolist()
    own = interp.tasks.pairs(tiny, CLEAN[:2], answers=[[best], " Mary and John"])
    top = own.behaviour(tiny).sel(measure="answer on top", prompts="clean")
    assert top.examples.tolist() == [1.0, 0.0]


def test_the_first_token_is_scored_on_request_and_said(tiny):
    task = interp.tasks.pairs(tiny, CLEAN[:1], answers=[" Mary and John"], answer_tokens="first")
    plain = interp.tasks.pairs(tiny, CLEAN[:1], answers=[" Mary"])
    assert task.metadata["answers"] == "first token" and not isinstance(task, MixedTask)
    assert task.clean_metric(tiny).values == plain.clean_metric(tiny).values
    assert interp.logit_lens(tiny, task).metadata["answers"] == "first token"


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m, t: t.with_metric("prob"), "use metric='log_prob' or 'logit_diff'"),
        (lambda m, t: interp.attribution_patch(m, t, "L*H*", method="atp*"), "method='atp'"),
        (lambda m, t: interp.methods.lenses.write_lens(m, t), "answer_tokens='first'"),
        (lambda m, t: interp.patch(m, t, "L*H*@-1"), "'L\\*H\\*@END'"),
        (lambda m, t: interp.patch(m, t, "resid_pre.*@*"), "interp.patch.*'resid_pre.*@IO'"),
        (lambda m, t: interp.attention_patterns(m, t), "task.by_length"),
        (lambda m, t: t.clean, "15, 17 tokens"),
        (lambda m, t: t.corrupted, "15, 17 tokens"),
        (lambda m, t: interp.ablate(m, t, "L*H*"), "reference="),
    ],
)
def test_what_cannot_be_joined_says_what_works(tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny, whole_answers(tiny))


# --- clean prompts alone -----------------------------------------------------------------------


def test_clean_prompts_alone_serve_what_compares_nothing(tiny):
    task = interp.tasks.pairs(tiny, CLEAN, answers=[" Mary"] * 3)
    for verb in ("ablate", "logit_lens", "logit_attribution", "knockout", "effect", "steer"):
        if verb in ("knockout",):
            continue
        assert np.isfinite(VERBS[verb](tiny, task).values).all(), verb
    assert interp.discover(tiny, task[[0, 2]], "eap", by="mean").metadata["by"] == "mean"
    for verb in ("patch", "path_patch", "attribution_patch", "eap_ig"):
        with pytest.raises(ValueError, match="interp.tasks.pairs"):
            VERBS[verb](tiny, task)


def test_corruptions_keep_the_length(tiny):
    swapped = interp.tasks.corrupt.swap(CLEAN[:1], "Mary", "John")
    assert swapped == ["When John and Mary went to the store, Mary gave a drink to"]
    names = ["Tom", "Anna", "one two"]
    other = interp.tasks.corrupt.replace(tiny, CLEAN, "Mary", names, seed=1)
    assert all("Mary" not in text and "one two" not in text for text in other)
    mixed = interp.tasks.corrupt.shuffle(tiny, CLEAN)
    for text, ids in zip(CLEAN, mixed):
        plain = encode(tiny.tokenizer, text)
        assert sorted(ids.tolist()) == sorted(plain) and ids.tolist() != plain
        assert ids[0] == plain[0] and ids[-1] == plain[-1]
    assert interp.tasks.pairs(tiny, CLEAN, mixed, [" Mary"] * 3).paired
    with pytest.raises(ValueError, match="neither 'Bob' nor 'Eve'"):
        interp.tasks.corrupt.swap(CLEAN, "Bob", "Eve")


# --- positions, answers, prompts ---------------------------------------------------------------


@pytest.mark.parametrize(
    "place, word",
    [
        ("store", "store"),
        ((5, 9), "Mary"),
        (re.compile("Mary and John"), "John"),
        (re.compile(r"(\w+) gave"), "John"),
        (lambda text: text.index("Mary"), None),
        (lambda text: (text.index("drink"), text.index("drink") + 5), "drink"),
        (-1, "to"),
        (["store"], "store"),
    ],
)
def test_a_place_is_a_word_a_span_a_pattern_a_number_or_a_function(tiny, place, word):
    task = interp.tasks.pairs(tiny, CLEAN[:1], answers=[" Mary"], positions={"X": place})
    at = int(task.positions["X"][0])
    if word is not None:
        assert tiny.tokenizer.decode([int(task.clean[0, at])]).strip() == word
    else:
        assert at == CLEAN[0].index("Mary")  # a number counts tokens
    ids = interp.tasks.pairs(tiny, task.clean, answers=[" Mary"], positions={"X": at})
    assert int(ids.positions["X"][0]) == at


@pytest.mark.parametrize(
    "options, says",
    [
        ({"positions": {"X": "John"}}, "stands 2 times"),
        ({"positions": {"X": "Bob"}}, "does not stand in"),
        ({"positions": {"X": re.compile("Bob")}}, "matches nothing"),
        ({"positions": {"X": (300, 310)}}, "hold no token"),
        ({"positions": {"X": 99}}, "no token 99"),
        ({"positions": {"END": 3}}, "END is always"),
        ({"positions": {"X": ["store", "store"]}}, "2 places for 1 prompts"),
        ({"answers": [" Mary", " John"]}, "1 prompts and 2 answers"),
        ({"answers": [[]]}, "at least one"),
        ({"answers": [" Zzyzx"]}, "does not know ' Zzyzx'"),
        ({"answers": None, "wrong": [" John"]}, "wrong answers without answers"),
        ({"wrong": [" Mary"]}, "an answer and a wrong answer"),
        ({"metric": "logit_diff"}, "give wrong="),
        ({"metric": "logit_dif"}, "did you mean 'logit_diff'"),
        ({"corrupted": CLEAN[:1]}, "the same"),
        ({"corrupted": [CORRUPTED[1]]}, "15 clean and 17 corrupted tokens.*corrupt.replace"),
        ({"corrupted": CORRUPTED}, "1 clean prompts and 3 corrupted"),
        ({"labels": {"x": ["a", "b"]}}, "2 values for 1 prompts"),
        ({"clean": []}, "at least one example"),
        ({"clean": [[5, -1, 7]]}, "clean: -1 is no token's id: token ids are 0 to"),
        ({"corrupted": [[5, 10**25, 7]]}, "corrupted: 10000.* is no token's id"),
        ({"answers": [-1]}, "answers: -1 is no token's id"),  # the last column of the logits
        ({"wrong": [[[3, 10**6]]]}, "wrong: 1000000 is no token's id"),
        ({"clean": [""]}, "is empty"),
        ({"answer_tokens": "second"}, "answer_tokens='first'"),
    ],
)
def test_what_does_not_fit_is_one_sentence(tiny, options, says):
    given = {"clean": CLEAN[:1], "answers": [" Mary"], **options}
    with pytest.raises(ValueError, match=says):
        interp.tasks.pairs(tiny, given.pop("clean"), **given)


@pytest.mark.parametrize("clean", [None, 3, pd.DataFrame({"a": ["b"]}), [None], [3.5]])
def test_what_is_no_prompt_shows_the_right_call(tiny, clean):
    with pytest.raises((TypeError, ValueError), match=r"interp.tasks.(pairs|read)\("):
        interp.tasks.pairs(tiny, clean)


def test_a_missing_space_is_noticed_once_with_the_right_word(smollm2):
    ask = ["The capital of France is", "The capital of Italy is"]
    with pytest.warns(UserWarning, match="' Paris'.*1 more"):
        interp.tasks.pairs(smollm2, ask, answers=["Paris", "Rome"])
    with pytest.warns(UserWarning, match="ends with a space"):
        interp.tasks.pairs(smollm2, ["The capital of France is "], answers=["Paris"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        interp.tasks.pairs(smollm2, ask, answers=[" Paris", " Rome"])
        interp.tasks.pairs(smollm2, ["The war lasted from 1732 to 17"], answers=["4"])
        interp.tasks.pairs(smollm2, ["Q: Who?\nA:\n"], answers=["Paris"])


# --- halves ------------------------------------------------------------------------------------


def test_halves_share_no_prompt_and_know_each_other(tiny):
    names = ["Mary", "John", "Tom", "Anna", "Paul", "Mark", "Sarah", "Emma"]
    first = [f"When {name} went to the" for name in names]
    clean, corrupted = first, first[1::2] + first[0::2]
    corrupted = [first[i ^ 1] for i in range(8)]  # each prompt is its neighbour's corrupted one
    task = interp.tasks.pairs(tiny, clean, corrupted, [" store"] * 8, labels={"name": names})
    find, judge = task.split(0.5, seed=3)
    both = [{tuple(x.tolist()) for x in (*t.clean, *t.corrupted)} for t in (find, judge)]
    assert len(find) == len(judge) == 4 and not both[0] & both[1]
    assert find.heldout() is judge or (find.heldout().clean == judge.clean).all()
    assert (find.heldout().metric_name, judge.metadata["split"]) == ("log_prob", "heldout")
    with pytest.raises(ValueError, match="already the held-out half"):
        judge.heldout()
    with pytest.raises(ValueError, match="find, judge = task.split"):
        task.heldout()
    assert [len(t) for t in task.split(0.75)] == [6, 2]
    with pytest.raises(ValueError, match="between 0 and 1"):
        task.split(1.0)
    with pytest.raises(ValueError, match="cannot be split"):
        task[:2].split(0.5)
    by = interp.tasks.pairs(tiny, first, answers=[" store"] * 8, labels={"sex": list("wmmwmmww")})
    one, two = by.split(0.5, by="sex")
    assert not set(one.labels["sex"]) & set(two.labels["sex"])


def test_a_circuit_knows_the_prompts_it_was_found_on(tiny, tmp_path):
    task = interp.tasks.ioi(tiny, n=10)
    circuit = interp.Circuit.top(interp.discover(tiny, task[:5]), 30)
    circuit = interp.Circuit.load(circuit.save(tmp_path / "c.json"))

    def seen(t):
        return interp.evaluate(tiny, t, circuit, sets=1).metadata["seen"]

    assert not seen(task[5:]) and seen(task[:5]) and seen(task[4:]) and not seen(task.heldout())
    find, judge = several_lengths(tiny).split(0.5)
    circuit = interp.Circuit.top(interp.discover(tiny, find), 30)
    assert seen(find) and not seen(judge)


# --- chat and the first token ------------------------------------------------------------------


def test_a_chat_prompt_has_one_first_token(smollm2):
    tok = smollm2.tokenizer
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    right = tok.apply_chat_template(messages, add_generation_prompt=True)
    right = right if isinstance(right, list) else right["input_ids"]
    text = interp.chat(smollm2, "What is the capital of France?")
    assert encode(tok, text) == list(right)
    task = interp.tasks.pairs(
        smollm2,
        ["What is the capital of France?"],
        ["What is the capital of Japan?"],
        ["Paris"],
        positions={"SUBJECT": re.compile("France|Japan")},
        chat=True,
    )
    assert task.clean[0].tolist() == list(right)
    assert tok.decode([int(task.clean[0, task.positions["SUBJECT"][0]])]).strip() == "France"
    assert interp.tasks.pairs(smollm2, [messages], chat=True).clean[0].tolist() == list(right)
    logits = interp.run(smollm2, text).logits
    torch.testing.assert_close(logits, interp.run(smollm2, torch.tensor([right])).logits)


def test_a_model_without_a_template_says_so(tiny):
    with pytest.raises(ValueError, match="no chat template"):
        interp.chat(tiny, "Hello")


def test_a_tokenizer_without_a_first_token_is_left_alone():
    bare = word_tokenizer()
    bare.bos_token = None
    before = (dict(bare.init_kwargs), bare.special_tokens_map)
    task = interp.tasks.pairs(bare, CLEAN[:1], answers=[" Mary"])
    assert task.clean[0].tolist() == bare(CLEAN[0], add_special_tokens=False).input_ids
    assert (dict(bare.init_kwargs), bare.special_tokens_map) == before and bare.bos_token is None


def test_loading_leaves_a_tokenizer_without_a_first_token_alone():
    from transformers import LlamaConfig, LlamaForCausalLM

    bare = word_tokenizer()
    bare.bos_token = None
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    config = LlamaConfig(vocab_size=len(bare), max_position_embeddings=64, **sizes)
    before = (dict(bare.init_kwargs), dict(bare.special_tokens_map))
    model = interp.load(LlamaForCausalLM(config), tokenizer=bare)
    assert (dict(bare.init_kwargs), dict(bare.special_tokens_map)) == before
    assert model.tokenizer.bos_token is None
    assert interp.run(model, "The dog").logits.shape[1] == 2  # nothing is put first
    assert interp.head_scores(model).values.shape == (4, 2, 4)
    assert interp.generate(model, "The dog", max_new_tokens=1).prompt == "The dog"


def test_a_model_keeps_its_name(tiny):
    assert interp.ablate(tiny, CLEAN[0], "L0H0", by="zero").metadata["model"] == "tiny"


# --- sources and the answers after a swap ---------------------------------------------------------


def test_a_source_and_its_answers_survive_what_chooses_prompts(tiny):
    swapped = [" John", [" John", " Tom"], " Mary"]
    wrong = [" John", " John", " Tom"]
    task = interp.tasks.pairs(
        tiny, CLEAN, None, [" Mary"] * 3, wrong, source=CORRUPTED, swapped=swapped
    )
    assert task.has_swap_answers and [len(ids) for ids in task.corrupted_prompts] == [15, 17, 15]

    def words(some):
        return [
            [tiny.tokenizer.decode([int(i)]).strip() for i, c in zip(ids, count) if c]
            for ids, count in zip(some.swap_answers, some.swap_answers_count)
        ]

    by = task.by_length()
    assert words(by[15]) == [["John"], ["Mary"]] and words(by[17]) == [["John", "Tom"]]
    assert [words(part.steps[0].task) for part in task.parts] == [words(by[15]), words(by[17])]
    assert words(task[[0]]) == [["John"]] and not task.swapped().has_swap_answers
    find, judge = task.split(0.5)
    assert find.has_swap_answers and judge.has_swap_answers
    plain = interp.tasks.pairs(tiny, CLEAN, CORRUPTED, [" Mary"] * 3, wrong)
    assert not plain.has_swap_answers and plain[0].swap_answers is None


def test_the_answer_after_a_swap_may_have_several_tokens(tiny):
    task = interp.tasks.pairs(
        tiny, CLEAN[:1], CORRUPTED[:1], [" Mary"], swapped=[" John and Tom"], answer_tokens="all"
    )
    assert task.whole and task.has_swap_answers


@pytest.mark.parametrize(
    "options, says",
    [
        (dict(corrupted=CORRUPTED, source=CORRUPTED, swapped=[" John"] * 3), "give one of the two"),
        (dict(source=CORRUPTED), "source= without swapped="),
        (dict(swapped=[" John"] * 3), "there are no source prompts"),
        (dict(source=CORRUPTED, swapped=[" John"] * 3, answers=None), "there are no answers"),
        (dict(source=CLEAN, swapped=[" John"] * 3), "clean and source are the same"),
        (dict(source=CORRUPTED, swapped=[" John"] * 2), "3 prompts and 2 swapped"),
    ],
)
def test_a_source_that_does_not_fit_is_one_sentence(tiny, options, says):
    with pytest.raises(ValueError, match=says):
        interp.tasks.pairs(tiny, CLEAN, **{"answers": [" Mary"] * 3, **options})


def test_answers_after_a_swap_are_read_from_a_file(tiny, tmp_path):
    frame = pd.DataFrame(
        {"clean": CLEAN, "corrupted": CORRUPTED, "answers": " Mary", "swapped": " John"}
    )
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert interp.tasks.read(tmp_path / "rows.csv", tiny).has_swap_answers
