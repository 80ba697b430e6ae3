"""A task shown by examples: "Q: dog\\nA: dogs\\n\\nQ: car\\nA:" -> " cars"; antonyms, plurals, past
tenses, capitals.
"""

import random
from functools import partial
from typing import Any

from interp._errors import unknown
from interp.tasks.capitals import CAPITALS
from interp.tasks.pairs import Example, build, different
from interp.tasks.task import Task, halves, is_single, tokenizer_of

PAIRS = {
    "antonym": (
        (
            "hot cold|big small|up down|good bad|fast slow|rich poor|light dark|old young|high"
            " low|happy sad|open closed|hard soft|true false|early late|wet dry|strong weak|long"
            " short|near far|first last|left right|full empty|thick thin|loud quiet|clean"
            " dirty|deep shallow|wide narrow|sharp dull|inside outside|before after|above below|win"
            " lose|buy sell|push pull|give take|start stop|love hate|north south|east west|day"
            " night|male female|positive negative|increase decrease|success failure|arrive"
            " leave|accept reject|smooth rough|safe dangerous|major minor|maximum minimum|front"
            " back|forward backward|upper lower|guilty innocent|simple complex|public"
            " private|modern ancient|always never|many few|black white|internal external|active"
            " passive|life death|friend enemy|war peace|rise fall|remember forget|teach learn"
        ).split("|")
    ),
    "plural": (
        (
            "dog dogs|cat cats|car cars|tree trees|house houses|book books|king kings|road"
            " roads|river rivers|door doors|table tables|student students|game games|star"
            " stars|boat boats|bird birds|horse horses|chair chairs|window windows|letter"
            " letters|picture pictures|flower flowers|garden gardens|teacher teachers|doctor"
            " doctors|city cities|country countries|child children|woman women|man men|foot"
            " feet|tooth teeth|mouse mice|leaf leaves|wolf wolves|story stories|party parties|baby"
            " babies|family families|box boxes|church churches|bus buses|island islands|mountain"
            " mountains|school schools|village villages|artist artists|song songs|ship ships|farmer"
            " farmers|bridge bridges|lake lakes|hand hands|shoe shoes|train trains|cup cups|knife"
            " knives|wall walls|cloud clouds"
        ).split("|")
    ),
    "past": (
        (
            "go went|see saw|eat ate|run ran|take took|give gave|come came|make made|write"
            " wrote|know knew|find found|think thought|speak spoke|buy bought|sing sang|win"
            " won|begin began|bring brought|build built|break broke|catch caught|choose chose|drink"
            " drank|drive drove|fall fell|feel felt|fight fought|fly flew|forget forgot|get"
            " got|grow grew|hear heard|hold held|keep kept|leave left|lose lost|meet met|pay"
            " paid|ride rode|rise rose|say said|sell sold|send sent|sit sat|sleep slept|stand"
            " stood|steal stole|swim swam|teach taught|tell told|throw threw|understand"
            " understood|wake woke|wear wore|draw drew|seek sought|hide hid|shake shook|lead"
            " led|spend spent"
        ).split("|")
    ),
    "capital": CAPITALS,
}
CORRUPTIONS = ("shuffled", "query")


def fewshot(
    model: Any,
    n: int = 32,
    seed: int = 0,
    *,
    kind: str = "antonym",
    shots: int = 5,
    corruption: str = "shuffled",
    split: str = "find",
) -> Task:
    """Question and answer pairs of one kind, then a question: what is its answer?

    Example:
        >>> interp.tasks.fewshot(model, kind="plural", shots=5).show(1)

    Args:
        kind: "antonym", "plural", "past" or "capital".
        shots: How many pairs are shown.
        corruption: "shuffled" gives the shown questions one another's answers, so that they no
            longer show a task; "query" asks another question instead. The wrong answer is another
            pair's, the other question's with "query"; none is shown. Positions: QUERY, END; metric:
            logit difference. Held out: other pairs.

    Reference:
        Todd et al. 2023 (arXiv 2310.15213).
    """
    tokenizer = tokenizer_of(model)
    if kind not in PAIRS:
        raise unknown("kind of pairs", kind, PAIRS)
    if corruption not in CORRUPTIONS:
        raise unknown("corruption", corruption, CORRUPTIONS)
    if shots < (2 if corruption == "shuffled" else 0):
        raise ValueError(
            f"shots={shots}: answers can be shuffled among two shots or more (corruption='query'"
            " takes none)"
        )
    pairs = [tuple(pair.split()) for pair in PAIRS[kind]]

    def whole(pair):
        return len(set(pair)) == 2 and all(is_single(tokenizer, " " + word) for word in pair)

    pool = halves([pair for pair in pairs if whole(pair)], split)
    if len(pool) < shots + 2:
        raise ValueError(
            f"shots={shots}: only {len(pool)} {kind} pairs of this half are one token, {shots + 2}"
            " are needed"
        )
    rng = random.Random(f"fewshot {seed} {split} {kind}")
    examples = different(n, lambda i: _example(rng, pool, shots, corruption), "fewshot")
    metadata = {
        "seed": seed,
        "split": split,
        "kind": kind,
        "shots": shots,
        "corruption": corruption,
    }
    metadata["fillings"] = "half of the pairs; heldout() has the others"
    again = partial(fewshot, tokenizer, kind=kind, shots=shots, corruption=corruption)
    return build("fewshot", tokenizer, examples, "logit_diff", metadata, again)


def _example(
    rng: random.Random, pool: list[tuple[str, str]], shots: int, corruption: str
) -> Example:
    (query, answer), (other, wrong), *shown = rng.sample(pool, shots + 2)

    def show(pairs):
        return "".join(f"Q: {q}\nA: {a}\n\n" for q, a in pairs)

    clean = show(shown)
    if corruption == "shuffled":
        step = rng.randrange(1, shots)  # turned round by a step, no question keeps its answer
        corrupted = (
            show([(q, shown[(k + step) % shots][1]) for k, (q, _) in enumerate(shown)])
            + f"Q: {query}\nA:"
        )
    else:
        corrupted = f"{clean}Q: {other}\nA:"
    return Example(
        f"{clean}Q: {query}\nA:",
        corrupted,
        [f" {answer}"],
        [f" {wrong}"],
        {"QUERY": (f"{clean}Q:", query)},
        {"query": query},
    )
