"""`interp.find` knows the field's names, and says what is nearest where we have no such thing."""

import re
from pathlib import Path

import pytest

import interp
from interp._find import _pages, _public
from interp._find_words import TABLE

FIRST = {
    "logit attribution": "interp.logit_attribution",
    "DLA": "interp.logit_attribution",
    "direct effect": "interp.logit_attribution",
    "patching": "interp.patch",
    "Activation-Patching": "interp.patch",
    "activation patchng": "interp.patch",
    "causal mediation": "interp.patch",
    "path patching": "interp.path_patch",
    "ROME": "interp.causal_trace",
    "EAP": "interp.discover",
    "EAP-IG": "interp.discover",
    "SAE": "interp.features.train",
    "sparse autoencoders": "interp.features.train",
    "ablate": "interp.ablate",
    "mean ablation": "interp.ablate",
    "steering vectors": "interp.steer",
    "tuned lens": "interp.tuned_lens",
    "OV": "interp.methods.weights.ov_readout",
    "QK": "interp.methods.weights.qk_readout",
    "induction": "interp.head_scores",
    "knockout": "interp.attention_knockout",
    "attention sink": "interp.head_scores",
    "hook": "interp.Intervention",
    "cache": "interp.run",
    "DAS": "interp.align",
    "probe": "interp.probe",
    "which heads copy in my model": "interp.head_scores",
    "copying heads": "interp.head_scores",
    "better than chance": "interp.evaluate",
    "is my circuit better than chance?": "interp.evaluate",
    "resume": "interp.over",
    "process pool": "interp.over",
    "how do I knock out a head": "interp.attention_knockout",
    "ablating": "interp.ablate",
}


@pytest.mark.parametrize("typed, first", FIRST.items())
def test_the_fields_names_find_the_verb(typed, first):
    assert interp.find(typed)[0][0] == first


def test_every_name_of_the_table_exists_and_has_a_line():
    names = dict(_public()) | {f"interp.tasks.{n}": "a task" for n in dir(interp.tasks)}
    for row in TABLE:
        assert row.ours and all(names.get(name) for name in row.ours), row
        for name in row.names:
            assert interp.find(name)[0][0] in {o for r in TABLE if name in r.names for o in r.ours}
        assert all(line for _, line in interp.find(row.names[0])), row


def test_what_is_only_near_says_so_and_short_words_match_whole():
    assert "weights are not edited" in repr(interp.find("ROME"))
    assert len(interp.find("DLA")) == 1  # not "a pandas DataFrame"
    assert interp.find("zebrafish") == []


def test_a_question_finds_its_page():
    def pages(words):
        return [name for name, _ in interp.find(words) if name.endswith(".md")]

    assert pages("which heads copy in my model") == ["docs/how-to/which-heads-copy.md"]
    assert pages("better than chance") == ["docs/how-to/better-than-chance.md"]
    assert "docs/cluster.md" in pages("cluster")
    root = Path(interp.__file__).resolve().parents[1]
    assert len(_pages()) >= 10 and all(
        (root / page.split("#")[0]).is_file() for page, _ in _pages()
    )
    questions = (root / "docs" / "how-to" / "index.md").read_text(encoding="utf-8")
    assert {page for page, _ in _pages()} == {
        f"docs/how-to/{page}".replace("how-to/../", "")
        for page in re.findall(r"\]\((.+?)\)", questions)
    }
    assert interp.find("zebrafish heads of the moon") == []


def test_interp_and_its_tasks_say_what_is_in_them():
    """Nothing public is left out of the groups but what a session does not type."""
    left_out = set(interp.__all__) - set(dir(interp))
    assert left_out == {
        "cli",
        "edits",
        "engine",
        "interventions",
        "plots",
        "replications",
        "results",
    }
    assert all(hasattr(interp, name) for name in interp.__all__)
    assert all(name in repr(interp) for name in dir(interp))
    listed = [line.split()[0] for line in repr(interp.tasks).splitlines() if line[:2] == "  "]
    assert listed == [*interp.tasks.names(), *interp.tasks.OWN]
