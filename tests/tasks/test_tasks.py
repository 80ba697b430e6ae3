"""Tasks: alignment is proved, positions point at their words, the held-out half shares nothing,
metrics by hand.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

import interp
from interp.tasks import TASKS
from interp.tasks.induction import repetition_loss
from interp.tasks.pairs import Example, build
from interp.tasks.task import single


@pytest.fixture(params=sorted(TASKS))
def make(request):
    return TASKS[request.param]


def words(task, i, kind="clean"):
    return [task.tokenizer.decode([int(t)]).strip() for t in getattr(task, kind)[i]]


# --- contracts: every task, every architecture's tokenizer, and the real one ----------------------


def test_prompts_line_up(make, model):
    task = make(model, n=12, seed=0)
    assert len(task) == 12 and task.clean.shape == task.corrupted.shape
    assert (task.clean[:, 0] == model.tokenizer.bos_token_id).all() and task.metadata[
        "bos"
    ] == "<|im_start|>"
    assert (task.clean[:, 1:] != model.tokenizer.bos_token_id).all()
    assert (task.clean != task.corrupted).any(1).all()
    assert (task.positions["END"] == task.clean.shape[1] - 1).all()
    for index in task.positions.values():
        assert index.shape == (12,) and (index >= 1).all() and (index < task.clean.shape[1]).all()


def test_answers_are_right_and_wrong(make, model):
    task = make(model, n=12, seed=0)
    for i in range(12):
        right = {int(t) for t, c in zip(task.answers[i], task.answers_count[i]) if c}
        wrong = {int(t) for t, c in zip(task.wrong[i], task.wrong_count[i]) if c}
        assert right and wrong and not right & wrong


def test_a_seed_gives_the_same_task_again(make, model):
    one, same, other = (make(model, n=8, seed=s) for s in (3, 3, 4))
    assert (one.clean == same.clean).all() and (one.corrupted == same.corrupted).all()
    assert (one.clean != other.clean).any()


def test_choosing_examples_keeps_them_whole(make, model):
    task = make(model, n=8, seed=0)
    part = task[[5, 2]]
    assert (part.clean == task.clean[[5, 2]]).all() and (part.answers == task.answers[[5, 2]]).all()
    assert all((part.positions[k] == task.positions[k][[5, 2]]).all() for k in task.positions)
    assert len(task[:3]) == 3 and len(task[-1]) == 1
    with pytest.raises(ValueError, match="no examples are left"):
        task[8:]


def test_shown_in_a_terminal_and_in_a_page(make, model):
    shown = make(model, n=4).show(2)
    assert "[END]" in repr(shown) or "END]" in repr(shown)
    kinds = ["answer", "wrong", *(["after the swap"] * shown.task.has_swap_answers)]
    assert all(kind in repr(shown) for kind in kinds)
    assert shown._repr_html_().count("<b>") == 2 * len(kinds)


# --- positions and fillings, task by task ---------------------------------------------------------


@pytest.mark.parametrize("corruption", ["swap", "abc"])
def test_ioi_positions_point_at_their_words(model, corruption):
    task = interp.tasks.ioi(model, n=24, seed=1, corruption=corruption)
    assert set(task.labels["order"]) == {"ABBA", "BABA"} and len(set(task.labels["template"])) >= 6
    for i in range(24):
        text, at = words(task, i), {k: int(v[i]) for k, v in task.positions.items()}
        io, s = (task._word(ids[i, 0]) for ids in (task.answers, task.wrong))
        assert text[at["IO"]] == io and text[at["S1"]] == text[at["S2"]] == s
        assert (
            at["S1+1"] == at["S1"] + 1
            and at["S1"] < at["S2"]
            and text.count(s) == 2
            and text.count(io) == 1
        )
        assert (at["IO"] < at["S1"]) == (task.labels["order"][i] == "ABBA")
        other = words(task, i, "corrupted")
        changed = {k for k in range(len(text)) if text[k] != other[k]}
        if corruption == "swap":
            assert changed == {at["S2"]} and other[at["S2"]] == io
        else:
            assert changed == {at["IO"], at["S1"], at["S2"]}
            assert len({other[at["IO"]], other[at["S1"]], other[at["S2"]], io, s}) == 5


@pytest.mark.parametrize("corruption", ["swap", "name", "position", "abc"])
def test_ioi_says_the_answer_after_a_swap(model, corruption):
    """By hand: of the other prompt, where its answer stands (position) and what it is (name)."""
    task = interp.tasks.ioi(model, n=12, seed=3, corruption=corruption)
    if corruption == "abc":
        assert not task.has_swap_answers
        return
    for i in range(len(task)):
        text, other = words(task, i), words(task, i, "corrupted")
        io, s = (text[int(task.positions[name][i])] for name in ("IO", "S1"))
        pair = [other[int(task.positions[name][i])] for name in ("IO", "S1")]
        repeated = other[int(task.positions["S2"][i])]
        theirs = next(name for name in pair if name != repeated)  # the other prompt's answer
        place = pair.index(theirs)  # 0: where this prompt has its own answer
        wanted = {"swap": theirs, "name": theirs, "position": (io, s)[place]}[corruption]
        assert task._word(task.swap_answers[i, 0]) == wanted and wanted != io
        assert place == (corruption != "name") or corruption == "swap"
    kept = task[[3, 1]]
    assert (kept.swap_answers == task.swap_answers[[3, 1]]).all()
    find, judge = task.split(0.5)
    assert find.has_swap_answers and judge.has_swap_answers and task.heldout().has_swap_answers
    assert not task.swapped().has_swap_answers
    assert "after the swap" in repr(task.show(1))


def test_ioi_held_out_shares_no_name_place_or_object(model):
    task = interp.tasks.ioi(model, n=64, seed=0, corruption="abc")
    held = task.heldout()
    frame = {w for t in task.metadata["templates"] for w in t.replace(",", " ,").split()}

    def content(t):
        return {
            w for k in ("clean", "corrupted") for i in range(len(t)) for w in words(t, i, k)
        } - frame

    shared = content(task) & content(held)
    assert shared <= {"<|im_start|>", ",", "<unk>"}, shared  # the tiny tokenizer has no comma
    assert held.metadata["split"] == "heldout" and len(held) == 64
    with pytest.raises(ValueError, match="already the held-out half"):
        held.heldout()


@pytest.mark.parametrize("name, label", [("capitals", "country"), ("greater_than", "noun")])
def test_held_out_labels_are_disjoint(model, name, label):
    task = interp.tasks.make(name, model, n=40)
    assert not set(task.labels[label]) & set(task.heldout().labels[label])


def test_agreement_held_out_nouns_are_disjoint(model):
    def nouns(t):
        return {
            words(t, i)[int(t.positions[p][i])] for i in range(len(t)) for p in ("SUBJECT", "NOUN")
        }

    task = interp.tasks.agreement(model, n=40)
    assert not nouns(task) & nouns(task.heldout())


def test_induction_held_out_tokens_are_disjoint(model):
    task = interp.tasks.induction(model, n=10)
    assert not set(task.clean[:, 1:].flatten().tolist()) & set(
        task.heldout().clean[:, 1:].flatten().tolist()
    )


def test_induction_with_another_block_shares_no_token_but_the_form(tiny):
    task = interp.tasks.induction(tiny, n=4, length=6, corruption="block")
    for clean, corrupted, answer, wrong in zip(
        task.clean.tolist(),
        task.corrupted.tolist(),
        task.answers[:, 0].tolist(),
        task.wrong[:, 0].tolist(),
    ):
        assert not set(clean[1:]) & set(corrupted[1:])
        for tokens, next_ in ((clean, answer), (corrupted, wrong)):
            assert tokens[tokens.index(tokens[-1]) + 1] == next_
    assert task.heldout().metadata["corruption"] == "block"


def test_induction_repeats_and_asks_for_what_followed(model):
    task = interp.tasks.induction(model, n=5, length=8)
    for i in range(5):
        row, a, b, end = (
            task.clean[i],
            int(task.positions["A"][i]),
            int(task.positions["A+1"][i]),
            task.clean.shape[1] - 1,
        )
        assert row[a] == row[end] and b == a + 1 and row[b] == task.answers[i, 0]
        assert (row[1 : a + 1] == row[9 : 9 + a]).all()
        assert task.corrupted[i, b] == task.wrong[i, 0]


def test_greater_than_digits(model):
    task = interp.tasks.greater_than(model, n=30)
    for i in range(30):
        tens = int(words(task, i)[int(task.positions["Y"][i])])

        def said(ids, count):
            return sorted(int(task._word(t)) for t, c in zip(ids[i], count[i]) if c)

        assert said(task.answers, task.answers_count) == list(range(tens + 1, 10))
        assert said(task.wrong, task.wrong_count) == list(range(tens))
        assert words(task, i, "corrupted")[int(task.positions["Y"][i])] == "0"


# --- metrics by hand ------------------------------------------------------------------------------


def toy(tiny, **fields):
    task = interp.tasks.capitals(tiny, n=1)

    def ids(*x):
        return torch.tensor([x])

    def yes(*x):
        return torch.tensor([x], dtype=torch.bool)

    base = dict(answers=ids(2, 3), wrong=ids(0, 1), answers_count=yes(1, 1), wrong_count=yes(1, 0))
    return replace(task, **{**base, **fields})


def test_metrics_worked_out_by_hand(tiny):
    task = toy(tiny)
    logits = torch.log(
        torch.tensor([[0.1, 0.2, 0.3, 0.15, 0.25]])
    )  # wrong: token 0 only (token 1 does not count)
    expected = {
        "logit_diff": (np.log(0.3) + np.log(0.15)) / 2 - np.log(0.1),
        "prob": 0.45,
        "prob_diff": 0.35,
        "log_prob": np.log(0.45),
        "rank": 0.0,
        "top1": 1.0,
        "accuracy": 1.0,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(
            task.with_metric(name).metric(logits).item(), value, atol=1e-6, err_msg=name
        )
    worse = torch.log(torch.tensor([[0.4, 0.2, 0.05, 0.1, 0.25]]))
    for name, value in {"rank": 3.0, "top1": 0.0, "accuracy": 0.0}.items():
        assert task.with_metric(name).metric(worse).item() == value, name


def test_metrics_take_leading_axes_and_every_position(tiny):
    task = interp.tasks.greater_than(tiny, n=3)
    logits = torch.randn(
        5, 3, interp.models.bridge.dims(tiny).d_vocab, generator=torch.Generator().manual_seed(0)
    )
    for name in interp.tasks.METRICS:
        judged = task.with_metric(name)
        each = torch.stack([judged.metric(row) for row in logits])
        torch.testing.assert_close(judged.metric(logits), each)
        if judged.reads == "answers":
            few = logits.gather(-1, task.columns.expand(5, 3, -1))
            torch.testing.assert_close(judged.metric_from_columns(few), each)
    whole = torch.randn(*task.clean.shape, logits.shape[-1])
    torch.testing.assert_close(task.metric(whole), task.metric(whole[:, -1]))


# --- what the model does --------------------------------------------------------------------------


def test_smollm2_can_do_every_task(smollm2):
    """Gates, on held-out fillings: well above chance everywhere, and the answer flips with the
    prompt.
    """
    for name, least in {
        "ioi": 0.95,
        "greater_than": 0.95,
        "capitals": 0.95,
        "agreement": 0.75,
        "induction": 0.95,
    }.items():
        behaviour = interp.tasks.make(name, smollm2, n=32).heldout().behaviour(smollm2)
        right = behaviour.sel(measure="answer above wrong")
        assert right.sel(prompts="clean").values >= least, name
        assert behaviour.sel(measure="logit difference", prompts="clean").ci()[0] > 0, name
        assert right.sel(prompts="corrupted").values < right.sel(prompts="clean").values - 0.3, name


def test_smollm2_predicts_what_is_repeated(smollm2):
    first, again = repetition_loss(smollm2, n=4).values
    assert first > 10 and again < 5


# --- rejections -----------------------------------------------------------------------------------


def test_misaligned_prompts_are_refused_with_the_reason(tiny):
    def rebuild(*examples):
        return build("toy", tiny.tokenizer, examples, "logit_diff", {}, interp.tasks.capitals)

    good = Example("The dog runs", "The cat runs", [" dog"], [" cat"], {"X": ("The", "dog")})
    assert len(rebuild(good)) == 1
    cases = {
        "do not line up": replace(good, corrupted="The cat"),
        "the same": replace(good, corrupted=good.clean),
        "should be 'cat'": replace(good, places={"X": ("The", "cat")}),
        "not one token": replace(good, answers=[" dog runs"]),
        "has no answer": replace(good, wrong=[]),
    }
    for says, example in cases.items():
        with pytest.raises(ValueError, match=says):
            rebuild(example)
    with pytest.raises(ValueError, match="at least one example"):
        rebuild()


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: interp.tasks.make("oi", m), "did you mean 'ioi'"),
        (lambda m: interp.tasks.ioi(m, corruption="ABC"), "did you mean 'abc'"),
        (lambda m: interp.tasks.ioi(m, n=0), "n must be 1 or more"),
        (lambda m: interp.tasks.ioi(m, split="test"), "unknown split"),
        (lambda m: interp.tasks.ioi(m).with_metric("logit-diff"), "did you mean 'logit_diff'"),
        (lambda m: interp.tasks.ioi(m).position("S3"), "did you mean 'S2'|unknown position"),
        (lambda m: interp.tasks.ioi(m).metric(torch.zeros(3, 7)), "do not fit"),
        (lambda m: interp.tasks.induction(m, length=2), "at least 4 tokens"),
        (lambda m: single(m.tokenizer, " two words"), "not one token"),
    ],
)
def test_wrong_input_is_one_sentence(tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny)


# --- what a task keeps, refuses and shows ---------------------------------------------------------


def test_held_out_keeps_the_metric_the_size_and_the_options(model):
    task = interp.tasks.ioi(model, n=12, seed=2, corruption="abc").with_metric("prob")[:5]
    held = task.heldout()
    assert (held.metric_name, len(held), held.metadata["seed"], held.metadata["corruption"]) == (
        "prob",
        5,
        3,
        "abc",
    )
    assert interp.tasks.induction(model, n=3, length=6).heldout().metadata["length"] == 6


def test_no_pair_comes_twice(make, model):
    for task in (made := make(model, n=40), made.heldout()):
        assert len({(*c, *d) for c, d in zip(task.clean.tolist(), task.corrupted.tolist())}) == 40


def test_more_prompts_than_the_fillings_give_are_refused(tiny):
    with pytest.raises(
        ValueError, match="n=4000 is too many: the fillings of this half gave only .* greater_than"
    ):
        interp.tasks.greater_than(tiny, n=4000)


def test_ioi_takes_templates_and_says_what_is_wrong_with_one(model):
    form = "When {a}, {b} went to the store, {s}, gave a {o} to"
    task = interp.tasks.ioi(model, n=8, templates=form)  # a comma on either side of the names
    for i in range(8):
        text, at = words(task, i), {k: int(v[i]) for k, v in task.positions.items()}
        assert (
            text[at["S1"]] == text[at["S2"]] == task._word(task.wrong[i, 0])
            and at["S1+1"] == at["S1"] + 1
        )
    for bad in (
        "{a} and {b} met, {s} gave a {o} to",
        "When {a} and {b} met",
        "When {b} and {a} met, {s} gave {o} to",
        "When {a} and {b} met, {s} gave a {thing} to",
        "When {a} and {b} met, {s} gave a {o} to ",
    ):
        with pytest.raises(ValueError, match="not an IOI template"):
            interp.tasks.ioi(model, templates=(bad,))
    with pytest.raises(ValueError, match="templates is empty"):
        interp.tasks.ioi(model, templates=())


def test_a_task_obeys_its_laws(tiny):
    task = interp.tasks.ioi(tiny, n=3)
    off, none = torch.zeros(3, dtype=torch.long), torch.zeros(3, 1, dtype=torch.bool)
    for says, change in {
        "must be the last token": {"positions": {"END": off}},
        "an index from 0 to": {"positions": {**task.positions, "S2": off + 99}},
        "counts none of its answers": {"answers_count": none},
        "has 1 values for 3": {"labels": {"order": ["ABBA"]}},
    }.items():
        with pytest.raises(ValueError, match=says):
            replace(task, **change)


def test_a_place_is_proved_by_the_text_before_it(tiny):
    twice = Example(
        "The dog saw the dog",
        "The cat saw the dog",
        [" dog"],
        [" cat"],
        {"X": ("The dog saw a", "dog")},
    )
    with pytest.raises(ValueError, match="position X"):
        build("toy", tiny.tokenizer, [twice], "logit_diff", {}, interp.tasks.capitals)


def test_the_terminal_marks_positions_and_differences(tiny):
    clean, corrupted, *_ = repr(interp.tasks.greater_than(tiny, n=1).show()).split("\n")
    assert "[Y]" in clean and clean.endswith("[END]") and "[" not in corrupted
    assert corrupted.count("*") == clean.count("*") >= 2


@pytest.mark.parametrize("name", sorted(TASKS))
def test_a_tokenizer_without_a_first_token_puts_nothing_first(tiny, name):
    from interp.models.tiny_models import word_tokenizer

    bare = word_tokenizer()
    bare.bos_token = None
    task, usual = (interp.tasks.make(name, t, n=6) for t in (bare, tiny.tokenizer))
    assert bare.bos_token is None and task.metadata["bos"] == ""
    if name not in ("needle", "induction"):  # a length to fill, a vocabulary without special tokens
        assert (task.clean == usual.clean[:, 1:]).all()
        assert all((task.positions[k] == usual.positions[k] - 1).all() for k in task.positions)
        assert not (task.clean == tiny.tokenizer.bos_token_id).any()


def test_a_task_is_made_by_a_tokenizer_alone_and_names_are_the_files(tiny):
    made = (
        "agreement capitals colored_objects conflict docstring fewshot greater_than induction ioi"
        " laundry needle successor"
    ).split()
    assert interp.tasks.names() == made
    for name in interp.tasks.names():
        assert (
            interp.tasks.make(name, tiny.tokenizer, n=4).clean
            == interp.tasks.make(name, tiny, n=4).clean
        ).all()


def test_behaviour_has_the_tasks_own_metric_and_an_interval(tiny):
    behaviour = interp.tasks.greater_than(tiny, n=6).behaviour(tiny)
    assert "prompts: clean, corrupted" in repr(behaviour)  # not "prompts: 2" of six
    own = behaviour.sel(measure="probability difference", prompts="clean")
    low, high = own.ci()
    assert low <= own.values <= high and behaviour.coords["measure"][0] == "answer above wrong"
