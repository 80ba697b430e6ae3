"""Tasks from files: the columns people have, the field's own formats, and what is said
when a file does not fit.
"""

import json

import pandas as pd
import pytest

import interp

CLEAN = ["The keys near the cabinet", "The dog near the cats"]
CORRUPTED = ["The key near the cabinet", "The dogs near the cats"]
ANSWERS, WRONG = [" are", " is"], [" is", " are"]
ROWS = [
    {"clean": c, "corrupted": k, "answers": a, "wrong": w, "noun": n}
    for c, k, a, w, n in zip(CLEAN, CORRUPTED, ANSWERS, WRONG, ["cabinet", "cats"])
]


@pytest.fixture
def same(tiny):
    """Whether a task is the one that `pairs` makes of these prompts."""
    want = interp.tasks.pairs(tiny, CLEAN, CORRUPTED, ANSWERS, WRONG)

    def check(task):
        for name in ("clean", "corrupted", "answers", "wrong"):
            assert (getattr(task, name) == getattr(want, name)).all(), name
        return True

    return check


class Dataset:
    """What a Hugging Face dataset offers of itself."""

    def __init__(self, rows):
        self.rows, self.column_names = rows, list(rows[0])

    def __getitem__(self, at):
        return self.rows[at]

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)


@pytest.mark.parametrize(
    "kind", ["csv", "tsv", "jsonl", "json", "frame", "rows", "columns", "dataset"]
)
def test_every_table_gives_the_same_task(tiny, tmp_path, kind, same):
    frame, path = pd.DataFrame(ROWS), tmp_path / f"mine.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "tsv":
        frame.to_csv(path, index=False, sep="\t")
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps(row) for row in ROWS))
    elif kind == "json":
        path.write_text(json.dumps(ROWS))
    sources = {
        "frame": frame,
        "rows": ROWS,
        "columns": {key: [row[key] for row in ROWS] for key in ROWS[0]},
        "dataset": Dataset(ROWS),
    }
    task = interp.tasks.read(sources.get(kind, path), tiny)
    assert same(task) and task.labels["noun"] == ["cabinet", "cats"]
    assert task.name == ("mine")


def test_parquet_gives_the_same_task_or_says_what_to_install(tiny, tmp_path, same):
    path = tmp_path / "mine.parquet"
    try:
        pd.DataFrame(ROWS).to_parquet(path)
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ImportError, match="pip install pyarrow"):
            interp.tasks.read(path, tiny)
        return
    assert same(interp.tasks.read(path, tiny))


def test_columns_are_named_where_they_are_not_recognised(tiny, same):
    rows = [
        {"q": c, "other": {"text": k}, "key": a.strip(), "w": w, "noun": "x"}
        for c, k, a, w in zip(CLEAN, CORRUPTED, ANSWERS, WRONG)
    ]
    columns = {
        "clean": "q",
        "corrupted": "other.text",
        "answers": lambda row: " " + row["key"],
        "wrong": "w",
        "labels": ["noun"],
    }
    task = interp.tasks.read(rows, tiny, columns, name="verbs", positions={"N": ["near", "near"]})
    assert same(task) and task.name == "verbs" and task.labels == {"noun": ["x", "x"]}
    assert set(task.positions) == {"N", "END"}
    assert len(interp.tasks.read(rows, tiny, columns, n=1)) == 1


@pytest.mark.parametrize(
    "call, says",
    [
        (lambda m: interp.tasks.read([{"a": "b", "c": "d"}], m), "'a', 'c'.*columns="),
        (lambda m: interp.tasks.read([], m), "no rows"),
        (lambda m: interp.tasks.read(ROWS, m, {"clean": "q"}), "no column 'q'; it has 'clean'"),
        (lambda m: interp.tasks.read(ROWS, m, {"prompt": "clean"}), "the keys are clean"),
        (lambda m: interp.tasks.read({"train": Dataset(ROWS)}, m), "splits train"),
        (lambda m: interp.tasks.read("mine.txt", m), "o such file: 'mine.txt'"),
    ],
)
def test_what_does_not_fit_says_what_it_has_and_what_is_needed(tiny, call, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        call(tiny)


@pytest.mark.parametrize("source", [None, 3, ["The keys"], "Some text"])
def test_what_is_no_table_shows_the_right_call(tiny, source):
    with pytest.raises((TypeError, FileNotFoundError), match="prompts.csv|no file|tasks.pairs"):
        interp.tasks.read(source, tiny)


def test_other_files_are_refused(tiny, tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(ValueError, match="none of .csv"):
        interp.tasks.read(tmp_path / "mine.txt", tiny)
    (tmp_path / "bad.jsonl").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        interp.tasks.read(tmp_path / "bad.jsonl", tiny)


# --- the field's formats -----------------------------------------------------------------------


def ids(model, word):
    return model.tokenizer(word, add_special_tokens=False).input_ids[0]


def test_feature_circuits_rows(tiny, same):
    rows = [
        {"clean_prefix": c, "patch_prefix": k, "clean_answer": a, "patch_answer": w, "case": "pl"}
        for c, k, a, w in zip(CLEAN, CORRUPTED, ANSWERS, WRONG)
    ]
    task = interp.tasks.read(rows, tiny)
    assert same(task) and task.labels["case"] == ["pl", "pl"]


def test_auto_circuit_files(tiny, tmp_path, same):
    prompts = [
        {"clean": c, "corrupt": k, "answers": [a], "wrong_answers": [w]}
        for c, k, a, w in zip(CLEAN, CORRUPTED, ANSWERS, WRONG)
    ]
    path = tmp_path / "verbs.json"
    labels = ["BOS", "The", "SUBJECT", "near", "the", "NOUN"]
    path.write_text(
        json.dumps(
            {"seq_labels": labels, "word_idxs": {"SUBJECT": 2, "end": 5}, "prompts": prompts}
        )
    )
    task = interp.tasks.read(path, tiny)
    assert same(task) and task.positions["SUBJECT"].tolist() == [2, 2]
    path.write_text(json.dumps({"word_idxs": {"SUBJECT": 2, "end": 9}, "prompts": prompts}))
    assert "SUBJECT" not in interp.tasks.read(path, tiny).positions  # of another tokenizer
    path.write_text(json.dumps({"prompts": [{"clean": "x"}]}))
    with pytest.raises(ValueError, match="wrong_answers"):
        interp.tasks.read(path, tiny)


def test_eap_ioi_rows_and_the_ids_of_another_tokenizer(tiny):
    clean = "When Mary and John went to the store, John gave a drink to"
    corrupted = "When Mary and John went to the store, Mary gave a drink to"
    row = {"clean": clean, "corrupted": corrupted, "corrupted_hard": corrupted}
    row |= {"correct_idx": str(ids(tiny, " Mary")), "incorrect_idx": str(ids(tiny, " John"))}
    task = interp.tasks.read([row], tiny)
    assert task.answers.tolist() == [[ids(tiny, " Mary")]]
    assert task.wrong.tolist() == [[ids(tiny, " John")]]
    with pytest.raises(ValueError, match="another tokenizer"):
        interp.tasks.read([{**row, "correct_idx": "7"}], tiny)


def test_knowledge_circuits_rows(tiny):
    row = {"clean": "The capital of France is", "corrupted": "The capital of Italy is"}
    row |= {"country_idx": ids(tiny, " Paris"), "corrupted_country_idx": ids(tiny, " Rome")}
    task = interp.tasks.read([row], tiny)
    assert task._word(task.answers[0, 0]) == "Paris" and task._word(task.wrong[0, 0]) == "Rome"


def test_eap_greater_than_rows(tiny, tmp_path):
    path = tmp_path / "greater_than.csv"
    lines = [
        "clean,corrupted,label",
        *(
            "The war lasted from the year 1732 to the year 17,"
            "The war lasted from the year 1701 to the year 17,32",
        )
        * 1,
    ]
    path.write_text("\n".join(lines) + "\n")
    try:
        task = interp.tasks.read(path, tiny)
    except ValueError as error:
        assert "two digits" in str(error)  # this tokenizer has no such numbers
        return
    assert task.metric_name == "prob_diff" and task.answers_count.sum() == 67


@pytest.mark.parametrize(
    "more, answer, wrong",
    [
        ({"metadata": {"indirect_object": "Mary", "subject": "John"}}, "Mary", "John"),
        ({"label": "Paris", "operator": "+"}, "Paris", "Rome"),
        ({"choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answerKey": 0}, "A", "B"),
    ],
)
def test_mib_rows(tiny, more, answer, wrong):
    twin = {"prompt": "The capital of Italy is", "label": "Rome"}
    if "choices" in more:
        twin = {"prompt": "The capital of Italy is", "choices": more["choices"], "answerKey": 1}
    row = {"prompt": "The capital of France is", "random_counterfactual": twin, **more}
    task = interp.tasks.read([row], tiny)
    assert (task._word(task.answers[0, 0]), task._word(task.wrong[0, 0])) == (answer, wrong)
    assert task.paired
    with pytest.raises(ValueError, match="they have random_counterfactual"):
        interp.tasks.read([row], tiny, counterfactual="other")


SWAP = {"clean": "The cats near", "source": "The kings by", "answers": " are", "swapped": " is"}


def test_source_prompts_and_answers_after_the_swap_are_read(tiny, tmp_path):
    rows = [SWAP, SWAP | {"clean": "The dogs near"}]
    path = tmp_path / "swaps.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    named = {key: key for key in SWAP}
    right = interp.tasks.pairs(tiny, **{key: [row[key] for row in rows] for key in SWAP})
    for task in (
        interp.tasks.read(rows, tiny),
        interp.tasks.read(path, tiny),
        interp.tasks.read(rows, tiny, columns=named),
    ):
        assert task.has_swap_answers and (task.corrupted == right.corrupted).all()
        assert (interp.interchange(tiny, task, "resid_post.1@END").examples >= 0).all()


def test_a_column_that_says_where_a_row_comes_from_is_a_label(tiny):
    row = {"clean": "The cats near", "answers": " are", "source": "web"}
    assert interp.tasks.read([row], tiny).labels["source"] == ["web"]
    both = row | {"corrupted": "The cat near"}
    assert interp.tasks.read([both], tiny).labels["source"] == ["web"]


def test_named_columns_leave_the_other_columns_as_labels(tiny):
    row = {"question": "The cats near", "key": " are", "number": "plural", "place": 3}
    columns = {"clean": "question", "answers": "key"}
    task = interp.tasks.read([row, row], tiny, columns=columns)
    assert task.labels == {"number": ["plural"] * 2, "place": ["3"] * 2}
    assert interp.tasks.read([row], tiny, columns=columns | {"labels": []}).labels == {}
    some = interp.tasks.read([row], tiny, columns=columns | {"labels": ["place"]})
    assert list(some.labels) == ["place"]


def test_behaviour_says_whose_answers_the_source_prompts_are_scored_by(tiny):
    found = interp.tasks.read([SWAP, SWAP], tiny).behaviour(tiny)
    for text in (repr(found), found._repr_html_()):
        assert "scored by the answers of the clean ones, not by their own" in text
