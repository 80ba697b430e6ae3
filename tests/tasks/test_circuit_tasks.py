"""Laundry lists, docstrings, colored objects and knowledge conflicts: their own laws beside the
contracts of test_tasks.py.
"""

import pytest

import interp
from interp.tasks import colored_objects, conflict, docstring, laundry
from interp.tasks.capitals import CAPITALS, LANGUAGES
from interp.tasks.colored_objects import COLORS, OBJECTS
from interp.tasks.docstring import ARGUMENTS, DESCRIPTIONS, FUNCTIONS
from interp.tasks.laundry import ITEMS


def words(task, i, kind="clean"):
    return [task.tokenizer.decode([int(t)]).strip() for t in getattr(task, kind)[i]]


def said(task, i, which):
    ids, count = getattr(task, which), getattr(task, f"{which}_count")
    return [task._word(t) for t, c in zip(ids[i], count[i]) if c]


def places(task, i):
    return {name: int(index[i]) for name, index in task.positions.items()}


def changed(task, i):
    return {k for k in range(task.clean.shape[1]) if task.clean[i, k] != task.corrupted[i, k]}


# --- laundry --------------------------------------------------------------------------------------


@pytest.mark.parametrize("items", [2, 3, 5])
def test_all_but_one_are_taken_and_another_in_the_twin(model, items):
    task = laundry(model, n=2 * items, items=items)
    for i in range(2 * items):
        at, text, twin = places(task, i), words(task, i), words(task, i, "corrupted")
        (left,), (other,) = said(task, i, "answers"), said(task, i, "wrong")
        stop = text.index(".")
        listed = [w for w in text[:stop] if w in ITEMS]

        def took(told):
            return [w for w in told[stop:] if w in ITEMS]

        assert len(set(listed)) == items and sorted([*took(text), left]) == sorted(
            [*took(twin), other]
        ) == sorted(listed)
        assert changed(task, i) == {at["TOOK"]} and (text[at["TOOK"]], twin[at["TOOK"]]) == (
            other,
            left,
        )
        assert (text[at["LEFT"]], text[at["OTHER"]]) == (left, other) and max(
            at["LEFT"], at["OTHER"]
        ) < stop < at["TOOK"]
        assert (
            listed[int(task.labels["index"][i]) - 1] == left == task.labels["left"][i]
            and task.labels["other"][i] == other
        )
        assert all(before == "a" for before, word in zip(text, text[1:stop]) if word in ITEMS)
    assert sorted(task.labels["index"]) == sorted([str(k + 1) for k in range(items)] * 2)


def test_a_laundry_list_reads_as_a_person_would_say_it(tiny):
    task = laundry(tiny, n=2)
    text = task.tokenizer.decode(task.clean[0][1:])
    one, two, name = task.labels["left"][0], task.labels["other"][0], task.labels["name"][0]
    assert (
        text
        == f"On the table, there is a {one}, and a {two}. {name} took the {two}, so the only thing"
        " left is the"
    )
    assert ", and the " in task.tokenizer.decode(laundry(tiny, n=1, items=3).clean[0])


def test_every_other_thing_can_be_the_wrong_answer(tiny):
    task = laundry(tiny, n=8, items=4, against="all")
    for i in range(8):
        listed = {w for w in words(task, i) if w in ITEMS}
        assert (
            len(said(task, i, "wrong")) == 3
            and {*said(task, i, "wrong"), *said(task, i, "answers")} == listed
        )


# --- colored objects ------------------------------------------------------------------------------


def test_the_color_asked_for_is_the_objects_own(model):
    task = colored_objects(model, n=18, against="all")
    for i in range(18):
        at, text = places(task, i), words(task, i)
        second = len(text) - 1 - text[::-1].index("Q")

        def colors(part):
            return [w for w in part if w in COLORS]

        def things(part):
            return [w for w in part if w in OBJECTS]

        assert not {*colors(text[:second])} & {*colors(text[second:])} and not {
            *things(text[:second])
        } & {*things(text[second:])}
        pairs = dict(zip(things(text[second:])[:3], colors(text[second:])))
        assert len(pairs) == 3 and changed(task, i) == {at["QUERY"]}
        asked, twin = text[at["QUERY"]], words(task, i, "corrupted")[at["QUERY"]]
        assert [pairs[asked].title()] == said(task, i, "answers") and pairs[twin].title() == said(
            task, i, "wrong"
        )[0]
        assert {c.title() for c in pairs.values()} == {
            *said(task, i, "answers"),
            *said(task, i, "wrong"),
        }
        assert text[at["OBJECT"]] == asked and text[at["OTHER_OBJECT"]] == twin
        named = [text[at[name]] for name in ("COLOR", "OTHER_COLOR", "THIRD_COLOR")]
        assert (
            named[:2] == [pairs[asked], pairs[twin]]
            and set(named) == set(pairs.values())
            and at["COLOR"] > second
        )
        assert [w.title() for w in named] == [
            task.labels[name][i] for name in ("color", "other", "third")
        ]
        assert list(pairs)[int(task.labels["index"][i]) - 1] == asked == task.labels["object"][i]
        assert all((a == "an") == (w[0] in "aeiou") for a, w in zip(text, text[1:]) if w in COLORS)
        shown = dict(zip(things(text[:second])[:3], colors(text[:second])))
        assert text[second - 2] == shown[things(text[:second])[3]].title()
    assert task.labels["index"].count("2") == 6
    assert colored_objects(model, n=2).wrong.shape == (2, 1)


# --- docstrings -----------------------------------------------------------------------------------


@pytest.mark.parametrize("corruption", ["random", "swap"])
def test_the_third_argument_follows_the_two_that_are_described(model, corruption):
    task = docstring(model, n=12, corruption=corruption)
    for i in range(12):
        at, text, twin = places(task, i), words(task, i), words(task, i, "corrupted")
        given = text[text.index("self") + 2 : text.index("):") : 2]
        a, b, c, after = (text[at[name]] for name in ("A_DEF", "B_DEF", "C_DEF", "NEXT_DEF"))
        assert (
            given[1:] == [a, b, c, after]
            and (text[at["A_DOC"]], text[at["B_DOC"]]) == (a, b)
            and len(set(given)) == 5
        )
        assert (
            said(task, i, "answers") == [c] and text.count(c) == 1 and text[-2:] == [":", "param"]
        )
        if corruption == "swap":
            assert changed(task, i) == {at["C_DEF"], at["NEXT_DEF"]} and said(task, i, "wrong") == [
                after
            ]
            assert (twin[at["C_DEF"]], twin[at["NEXT_DEF"]]) == (after, c)
        else:
            assert changed(task, i) == {
                at[name] for name in ("A_DEF", "B_DEF", "C_DEF", "A_DOC", "B_DOC")
            }
            new = [twin[k] for k in sorted(changed(task, i))]
            assert (
                len(set(new)) == 5
                and not set(new) & set(text)
                and said(task, i, "wrong") == [given[0], a, b, after]
            )


def test_descriptions_and_functions_are_no_arguments():
    assert not set(ARGUMENTS) & {*DESCRIPTIONS, *FUNCTIONS}


@pytest.mark.parametrize(
    "name, options, pools",
    [
        ("laundry", dict(items=3), [ITEMS]),
        ("colored_objects", {}, [OBJECTS]),
        ("docstring", {}, [ARGUMENTS, DESCRIPTIONS, FUNCTIONS]),
        ("conflict", dict(relation="language"), [[w for fact in LANGUAGES for w in fact.split()]]),
    ],
)
def test_the_halves_share_no_filling(model, name, options, pools):
    task = interp.tasks.make(name, model, n=32, **options)
    held = task.heldout()

    def used(t):
        return {w for kind in ("clean", "corrupted") for i in range(32) for w in words(t, i, kind)}

    for pool in pools:
        assert not used(task) & used(held) & set(pool)
    assert all(held.metadata[k] == v for k, v in options.items())


# --- conflicts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", ["capital", "language"])
@pytest.mark.parametrize("template", ["given", "plain", "question"])
def test_the_context_says_one_thing_and_memory_another(model, relation, template):
    known = dict(fact.split() for fact in (CAPITALS if relation == "capital" else LANGUAGES))
    task = conflict(model, n=10, relation=relation, template=template)
    turned = conflict(model, n=10, relation=relation, template=template, answer="memory")
    assert (
        (task.clean == turned.clean).all()
        and (task.answers == turned.wrong).all()
        and (task.wrong == turned.answers).all()
    )
    for i in range(10):
        at, text, twin = places(task, i), words(task, i), words(task, i, "corrupted")
        country, told, third = text[at["SUBJECT1"]], text[at["TOLD"]], twin[at["TOLD"]]
        assert country == text[at["SUBJECT2"]] == task.labels["country"][i] and changed(
            task, i
        ) == {at["TOLD"]}
        assert said(task, i, "answers") == [told] and said(task, i, "wrong") == [
            known[country]
        ] == [task.labels["memory"][i]]
        assert len({told, third, known[country]}) == 3
        assert text[at["QUESTION"] - 1] == "." and text[at["QUESTION"]] == (
            "Q" if template == "question" else "The"
        )


def test_the_first_conflict_reads_as_in_the_paper(tiny):
    task = conflict(tiny, n=1)
    country, told = task.labels["country"][0], task.labels["told"][0]
    assert (
        task.tokenizer.decode(task.clean[0][1:])
        == f"Given that the name of the capital city of {country} is {told}. The capital city of"
        f" {country} is"
    )


# --- rejections and gates -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: laundry(m, items=1), "a list has 2 to"),
        (lambda m: laundry(m, items=99), "try items=2"),
        (lambda m: laundry(m, against="al"), "did you mean 'all'"),
        (lambda m: colored_objects(m, against="others"), "did you mean 'other'"),
        (lambda m: docstring(m, corruption="swop"), "did you mean 'swap'"),
        (lambda m: conflict(m, relation="capitals"), "did you mean 'capital'"),
        (lambda m: conflict(m, template="questions"), "did you mean 'question'"),
        (lambda m: conflict(m, answer="other"), "unknown answer"),
        (lambda m: conflict(m, answer="memory", against="memory"), "is the answer itself"),
    ],
)
def test_wrong_input_is_one_sentence(tiny, call, says):
    with pytest.raises(ValueError, match=says):
        call(tiny)


@pytest.mark.parametrize(
    "name, options, least",
    [("laundry", {}, 0.85), ("docstring", {}, 0.9), ("docstring", dict(corruption="swap"), 0.9)],
)
def test_smollm2_passes_the_gate(smollm2, name, options, least):
    share = (
        interp.tasks.make(name, smollm2, n=16, **options)
        .heldout()
        .behaviour(smollm2)
        .sel(measure="answer on top")
    )
    assert (
        share.sel(prompts="clean").values >= least and share.sel(prompts="corrupted").values <= 0.3
    )
