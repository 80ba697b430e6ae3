"""Attention is strange: exercises on induction scores, sinks, KV groups, and knock-out."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

import interp
from interp._numbers import to_numpy
from interp.methods.attention import pattern_scores
from interp.workshop.exercise import Exercise
from interp.workshop.exercise import Setting as Base

BLOCK = 20  # random tokens, then the same ones again
REPEATS = 40  # how often attention-3 says one token
WINDOWS = (0, 8, 16, 22)  # first layers of the windows of eight that attention-7 blocks
LAYER = 15  # of attention-4
TEXT = (
    "The harbour was quiet in the morning. Two boats came in with the tide, and an old man carried"
    " baskets of fish to the market while the gulls watched him from the roof."
)
CODE = """def total(prices):
    result = 0
    for price in prices:
        result = result + price
    return result

print(total([3, 5, 8]))
"""
NEEDLES = [  # a thing and its place, another and its own, who looks for the first thing of the row
    ("key", "kitchen", "map", "garden", "Anna"),
    ("hat", "park", "book", "office", "Mary"),
    ("ring", "library", "cup", "station", "James"),
    ("pen", "market", "ball", "school", "Emma"),
]
PLACES = "The {} is in the {}. The {} is in the {}. "
LOOKS = "To find the {}, {} went to the"


def stories() -> list[str]:
    """The needle comes first in two of them and second in the others."""
    rows = enumerate(NEEDLES)
    orders = [(n[2:4] + n[:2] if i % 2 else n[:4], n[0], n[4]) for i, n in rows]
    return [PLACES.format(*facts) + LOOKS.format(thing, who) for facts, thing, who in orders]


class Setting(Base):
    """The default model, repeated random tokens, prose, code, and four prompts with a needle."""

    names = ("model", "tokens", "text", "code", "task")

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.bos = model.tokenizer.bos_token_id
        draw = torch.Generator().manual_seed(0)
        block = torch.randint(1000, 40000, (2, BLOCK), generator=draw)
        first = torch.full((2, 1), self.bos)
        device = model.W_U.device
        self.tokens = torch.cat([first, block, block], 1).to(device)

        def ids(text: str) -> list[int]:
            return list(model.tokenizer(text, add_special_tokens=False)["input_ids"])

        self.text = torch.tensor([[self.bos, *ids(TEXT)]], device=device)
        self.code = torch.tensor([[self.bos, *ids(CODE)]], device=device)
        self.repeated = torch.tensor([ids(" the") * REPEATS], device=device)
        self.task = self._task()

    def hand_out(self) -> tuple:
        tensors = (tensor.clone() for tensor in (self.tokens, self.text, self.code))
        return self.model, *tensors, self._task()

    def _task(self) -> interp.Task:
        return interp.tasks.pairs(
            self.model,
            clean=stories(),
            answers=[f" {n[1]}" for n in NEEDLES],
            wrong=[f" {n[3]}" for n in NEEDLES],
            positions={"NEEDLE": [n[1] for n in NEEDLES], "OTHER": [n[3] for n in NEEDLES]},
            name="needle",
        )

    def run(self, name: str) -> Any:
        """Every activation on these tokens: an attribute of the setting."""
        tokens = self.task.clean if name == "task" else getattr(self, name)
        return self.once(f"cache {name}", lambda: self.model.run_with_cache(tokens)[1])

    def patterns(self, name: str, what: str = "pattern") -> Tensor:
        """Attention patterns [layer batch head dest src]."""

        def make() -> Tensor:
            hook = "blocks.{}.attn.hook_" + what
            cache, layers = self.run(name), range(self.model.cfg.n_layers)
            return torch.stack([cache[hook.format(layer)] for layer in layers])

        return self.once(f"patterns {name} {what}", make)


# --- 1: the induction score -----------------------------------------------------------------------

one = Exercise(
    "attention-1",
    2,
    "the induction score of every head, a table of 30 layers by 9 heads",
    ("layer", "head"),
    hints=(
        "At the second coming of a token A, an induction head looks at the token *after* the first A:"
        " it reads what followed last time.",
        f"The block has {BLOCK} tokens and comes twice, so the first A is {BLOCK} back, and what"
        f" followed it {BLOCK - 1} back. Only destinations in the second block count.",
        f"pattern is [prompt, head, dest, src]. pattern[:, :, d, d - {BLOCK - 1}] for d from"
        f" {BLOCK + 1} to {2 * BLOCK}; the mean over d and over prompts.",
    ),
    remember="Four heads of 270 are above one half, all of them in layers 17 and 18.",
)


def _diagonal(patterns: Tensor, back: int, first: int = BLOCK + 1) -> Tensor:
    """Mean attention `back` tokens back, over destinations from `first` on [layer head]."""
    dest = torch.arange(first, patterns.shape[-2])
    return patterns[..., dest, dest - back].mean((1, 3))


@one.right
def _(s):
    _, cache = s.model.run_with_cache(s.tokens)
    dest = torch.arange(21, 41)  # the second block; position 0 is BOS
    rows = []
    for layer in range(s.model.cfg.n_layers):
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"]  # [prompt, head, dest, src]
        rows.append(pattern[:, :, dest, dest - 19].mean((0, 2)))
    return torch.stack(rows)


@one.another
def _(s):
    return pattern_scores.induction(s.patterns("tokens"), BLOCK).mean(1)


@one.mistake(
    "the same token instead of the one after it",
    "You measured attention to the token itself, the first time that it came: that is the"
    " duplicate-token score. An induction head looks at what *followed* it.",
)
def _(s):
    return _diagonal(s.patterns("tokens"), BLOCK)


@one.mistake(
    "position off by one",
    "You looked one token too far to the right: two after the first coming instead of one.",
)
def _(s):
    return _diagonal(s.patterns("tokens"), BLOCK - 2)


@one.mistake(
    "the first block counted as well",
    "You averaged over destinations of the first block too. There nothing has been repeated yet, so"
    " there is nothing to find.",
)
def _(s):
    return _diagonal(s.patterns("tokens"), BLOCK - 1, first=BLOCK - 1)


@one.mistake(
    "one destination too many",
    "Your destinations begin one token early: the last token of the first block has not been repeated."
    " With <|im_start|> at position 0, the second block begins at 21.",
)
def _(s):
    return _diagonal(s.patterns("tokens"), BLOCK - 1, first=BLOCK)


@one.mistake(
    "the last destination left out",
    "The last token of the second block is missing: arange(21, 40) ends at 39.",
)
def _(s):
    return _diagonal(s.patterns("tokens")[..., :-1, :], BLOCK - 1)


@one.mistake(
    "previous-token score",
    "That is attention to the token just before: the previous-token score. Count back a whole block.",
)
def _(s):
    return _diagonal(s.patterns("tokens"), 1)


@one.mistake(
    "the largest instead of the mean",
    "You took the largest attention over positions. One lucky position makes a head look like an"
    " induction head: average.",
)
def _(s):
    patterns, dest = s.patterns("tokens"), torch.arange(BLOCK + 1, 2 * BLOCK + 1)
    return patterns[..., dest, dest - BLOCK + 1].amax((1, 3))


@one.mistake(
    "destination and source swapped",
    "Rows and columns are swapped: in pattern[..., dest, src] the one that looks comes first. A causal"
    " model cannot look ahead, so this is zero.",
)
def _(s):
    dest = torch.arange(BLOCK + 1, 2 * BLOCK + 1)
    return s.patterns("tokens")[..., dest - BLOCK + 1, dest].mean((1, 3))


@one.mistake(
    "scores before the softmax",
    "These are attention scores before the softmax, not shares of attention. Use hook_pattern.",
)
def _(s):
    return _diagonal(s.patterns("tokens", "attn_scores"), BLOCK - 1)


@one.mistake(
    "<|im_start|> forgotten in the count",
    "All your positions are one too small: <|im_start|> stands at 0, so the blocks are 1 to 20 and 21 to"
    " 40. (The distance is right.)",
)
def _(s):
    dest = torch.arange(BLOCK, 2 * BLOCK)
    return s.patterns("tokens")[..., dest, dest - BLOCK + 1].mean((1, 3))


@one.mistake(
    "every pair of the two blocks",
    "You averaged over every destination with every source, a whole square of the pattern. Each"
    " destination has one source: index with two tensors of equal length.",
)
def _(s):
    block = s.patterns("tokens")[..., BLOCK + 1 : 2 * BLOCK + 1, 2 : BLOCK + 2]
    return block.mean((1, 3, 4))


@one.mistake("one prompt alone", "That is the first prompt alone. Average over both.")
def _(s):
    return _diagonal(s.patterns("tokens")[:, :1], BLOCK - 1)


@one.mistake("the sum over positions", "You added attention up. Asked for is the mean.")
def _(s):
    return BLOCK * _diagonal(s.patterns("tokens"), BLOCK - 1)


# --- 2: the sink ----------------------------------------------------------------------------------

two = Exercise(
    "attention-2",
    1,
    "the mean attention to the first token on the text, over all heads, one number",
    decimals=3,
    hints=(
        "Attention to the first token is the first column: pattern[..., dest, 0].",
        "The first token can look at itself alone, so its row is 1 by force. Leave destination 0 out.",
        'torch.stack of cache[f"blocks.{l}.attn.hook_pattern"][..., 1:, 0] over layers, and .mean().',
    ),
    remember="Nearly half of all attention goes to <|im_start|>, which means nothing here; in"
    " layers 20 to 26 it is more than two thirds, on average.",
)


@two.right
def _(s):
    _, cache = s.model.run_with_cache(s.text)
    layers = range(s.model.cfg.n_layers)
    firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][..., 1:, 0] for layer in layers]
    return torch.stack(firsts).mean()


@two.another
def _(s):
    return pattern_scores.first_token(s.patterns("text"), 0).mean()


@two.mistake(
    "the first row counted as well",
    "You averaged over destination 0 too. The first token can look at nothing but itself, so that row"
    " is always 1.",
)
def _(s):
    return s.patterns("text")[..., 0].mean()


@two.mistake(
    "one over the number of tokens",
    "That is one over the number of tokens, the mean of any row of a pattern, because each row sums to"
    " one. You took the whole pattern, or the first row (what the first token looks at) instead of the"
    " first column (who looks at it).",
)
def _(s):
    return s.patterns("text")[..., 0, :].mean()


@two.mistake(
    "softmax over the wrong axis",
    "You normalised over destinations. Each row of a pattern, one destination, sums to one: the softmax"
    " goes over sources.",
)
def _(s):
    scores = s.patterns("text", "attn_scores")
    return torch.nan_to_num(scores.softmax(-2))[..., 1:, 0].mean()


@two.mistake(
    "BOS forgotten",
    "The text was run without its first token <|im_start|>. Then another token stands first and becomes"
    " the sink: nearly the same number, of another prompt. Use the ids as given.",
)
def _(s):
    _, cache = s.model.run_with_cache(s.text[:, 1:])
    layers = range(s.model.cfg.n_layers)
    firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][..., 1:, 0] for layer in layers]
    return torch.stack(firsts).mean()


@two.mistake(
    "the share of heads instead of attention",
    "You counted how often the first token gets the most. Asked for is how much it gets.",
)
def _(s):
    return (s.patterns("text").argmax(-1) == 0)[..., 1:].float().mean()


@two.mistake(
    "the sum over positions",
    "You added attention up over destinations. With the mean, a longer text does not give more.",
)
def _(s):
    return s.patterns("text")[..., 1:, 0].sum(-1).mean()


@two.mistake("one layer alone", "That is the last layer alone. Average over all layers.")
def _(s):
    return s.patterns("text")[-1][..., 1:, 0].mean()


@two.mistake(
    "destination and source swapped",
    "You took what the first token looks at, in a row, instead of who looks at it, in a column:"
    " pattern[..., 1:, 0]. The first token sees nothing behind it, so this is zero.",
)
def _(s):
    return s.patterns("text")[..., 0, 1:].mean()


@two.mistake(
    "scores before the softmax",
    "These are attention scores before the softmax, not shares of attention. Use hook_pattern.",
)
def _(s):
    return s.patterns("text", "attn_scores")[..., 1:, 0].mean()


@two.mistake("the code instead of the text", "That is the number of the code. Run `text`.")
def _(s):
    return s.patterns("code")[..., 1:, 0].mean()


@two.mistake(
    "a destination too few", "Your destinations begin at 2. The first one that has a choice is 1."
)
def _(s):
    return s.patterns("text")[..., 2:, 0].mean()


@two.mistake("the last token alone", "That is the last token alone. Average over destinations.")
def _(s):
    return s.patterns("text")[..., -1, 0].mean()


def _to_first(s, tokens: Tensor) -> float:
    """Mean attention to the first token, destinations from 1 on, over all heads."""
    _, cache = s.model.run_with_cache(tokens)
    layers = range(s.model.cfg.n_layers)
    firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][..., 1:, 0] for layer in layers]
    return float(torch.stack(firsts).mean())


# --- 3: one token, forty times --------------------------------------------------------------------

three = Exercise(
    "attention-3",
    1,
    f'the mean attention to the first token when " the" comes {REPEATS} times and nothing else',
    decimals=3,
    hints=(
        'Make the ids yourself: one row with the id of " the" forty times, and no <|im_start|>.',
        'the = model.tokenizer(" the", add_special_tokens=False)["input_ids"];'
        " tokens = torch.tensor([the * 40]).",
        "Then as in attention-2: the first column, destinations from 1 on, mean over all heads.",
    ),
    remember="No sink, but even attention. All tokens are the same vector, so no mixture of values can"
    " differ from another, and the first token cannot stand out: being first is not enough.",
)


@three.right
def _(s):
    the = s.model.tokenizer(" the", add_special_tokens=False)["input_ids"]
    _, cache = s.model.run_with_cache(torch.tensor([the * 40], device=s.text.device))
    layers = range(s.model.cfg.n_layers)
    firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][..., 1:, 0] for layer in layers]
    return torch.stack(firsts).mean()


@three.another
def _(s):
    return pattern_scores.first_token(s.patterns("repeated"), 0).mean()


@three.mistake(
    "BOS kept",
    "There is still <|im_start|> in front, and it makes a sink by itself. Leave it out: forty times one"
    " token and nothing else.",
)
def _(s):
    tokens = torch.cat([s.text[:, :1], s.repeated], 1)
    _, cache = s.model.run_with_cache(tokens)
    layers = range(s.model.cfg.n_layers)
    firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][..., 1:, 0] for layer in layers]
    return torch.stack(firsts).mean()


@three.mistake(
    "the first row counted as well", "You averaged over destination 0 too, which is 1 by force."
)
def _(s):
    return s.patterns("repeated")[..., 0].mean()


@three.mistake(
    "even attention",
    "That is what a head would give that looks evenly at all it can see. A good null, but compute the"
    " model's own.",
)
def _(s):
    return float(np.mean([1 / (dest + 1) for dest in range(1, REPEATS)]))


@three.mistake(
    "the text's number", "That is the number of the text from attention-2. Run the repeated token."
)
def _(s):
    return s.patterns("text")[..., 1:, 0].mean()


@three.mistake(
    "attention to the token itself",
    "That is what each token gives itself, the diagonal. Asked for is the first column.",
)
def _(s):
    return s.patterns("repeated").diagonal(0, -2, -1)[..., 1:].mean()


@three.mistake(
    "one over the length",
    "That is one over the number of tokens: what the last token would give with even attention. The"
    " earlier ones see fewer.",
)
def _(s):
    return 1 / REPEATS


@three.mistake(
    "<|im_start|> in place of the first",
    "The first of the forty is <|im_start|>: it makes a sink, because it differs from what follows. All"
    " forty are the same token.",
)
def _(s):
    tokens = torch.cat([s.text[:, :1], s.repeated[:, 1:]], 1)
    return s.once("<|im_start|> first", lambda: _to_first(s, tokens))


@three.mistake(
    "the token without its blank",
    'That is "the" without the blank in front, another token. The blank belongs to it: " the".',
)
def _(s):
    word = s.model.tokenizer("the", add_special_tokens=False)["input_ids"][0]
    return s.once("no blank", lambda: _to_first(s, torch.full_like(s.repeated, word)))


@three.mistake(
    "forty-one tokens",
    "The token comes 41 times. Forty of it, and nothing else, is what is asked for.",
)
def _(s):
    return s.once("41", lambda: _to_first(s, torch.cat([s.repeated, s.repeated[:, :1]], 1)))


# --- 4: what the sink gives -----------------------------------------------------------------------

four = Exercise(
    "attention-4",
    2,
    f"for each head of layer {LAYER}: the norm of the first token's value over the mean norm of the"
    " other tokens' values, nine numbers",
    ("head",),
    decimals=3,
    hints=(
        "A head that looks at the first token copies its value. If that value is small, looking there"
        " means doing nothing.",
        "There are 9 heads and 3 sets of values: heads 0, 1, 2 share KV head 0, heads 3, 4, 5 share KV"
        " head 1, and heads 6, 7, 8 share KV head 2.",
        f'v = cache["blocks.{LAYER}.attn.hook_v"][0] is [position, KV head, d_head]; norms ='
        " v.norm(dim=-1); ratio = norms[0] / norms[1:].mean(0); ratio.repeat_interleave(3).",
    ),
    remember="The first token's value is a quarter to a half as large as the others', and in later"
    " layers mostly a tenth to a quarter: looking there does less than the attention says. It is where a head rests.",
)


def _values(s, letter: str = "v") -> Tensor:
    """Values or keys of the text at the layer [position KV-head d_head]."""
    return s.run("text")[f"blocks.{LAYER}.attn.hook_{letter}"][0]


def _ratio(norms: Tensor) -> Tensor:
    return norms[0] / norms[1:].mean(0)


@four.right
def _(s):
    _, cache = s.model.run_with_cache(s.text)
    norms = cache["blocks.15.attn.hook_v"][0].norm(dim=-1)  # [position, KV head]
    return (norms[0] / norms[1:].mean(0)).repeat_interleave(3)


@four.another
def _(s):
    kept = interp.run(s.model, s.text, keep=[f"L{LAYER}KV*.v"]).kept[f"L{LAYER}KV*.v"][:, 0]
    norms = kept.norm(dim=-1)  # [KV head, position]
    return [float(norms[head // 3][0] / norms[head // 3][1:].mean()) for head in range(9)]


@four.mistake(
    "heads of a KV group mixed up",
    "The values are right and went to the wrong heads: you used head % 3. Heads 0, 1, 2 share the first"
    " KV head, so it is head // 3 (repeat_interleave, not repeat).",
)
def _(s):
    return _ratio(_values(s).norm(dim=-1)).repeat(3)


@four.mistake(
    "the first token in the mean",
    "The first token itself is in the mean that you divide by. Compare it with the *others*.",
)
def _(s):
    norms = _values(s).norm(dim=-1)
    return (norms[0] / norms.mean(0)).repeat_interleave(3)


@four.mistake(
    "keys instead of values",
    "These are keys. The key decides *whether* the token is looked at; the value is what is carried away.",
)
def _(s):
    return _ratio(_values(s, "k").norm(dim=-1)).repeat_interleave(3)


@four.mistake(
    "the ratio upside down",
    "You divided the others by the first token. Asked for is the first over the others.",
)
def _(s):
    return (1 / _ratio(_values(s).norm(dim=-1))).repeat_interleave(3)


@four.mistake(
    "the norm of the mean",
    "You averaged the vectors and took the norm then. Vectors in different directions cancel; take each"
    " norm first.",
)
def _(s):
    v = _values(s)
    return (v[0].norm(dim=-1) / v[1:].mean(0).norm(dim=-1)).repeat_interleave(3)


@four.mistake("squared norms", "These are squared norms. Take the square root before you average.")
def _(s):
    return _ratio(_values(s).pow(2).sum(-1)).repeat_interleave(3)


@four.mistake(
    "the norm over the wrong axis",
    "You took the norm over positions or heads. A value vector's axis is the last one, d_head.",
)
def _(s):
    v = _values(s)
    return (v[0].norm(dim=0) / v[1:].norm(dim=1).mean(0))[:9]


@four.mistake(
    "the mean of ratios",
    "You divided by each other token's norm and averaged the ratios. Average the norms first, and divide"
    " then.",
)
def _(s):
    norms = _values(s).norm(dim=-1)
    return (norms[0] / norms[1:]).mean(0).repeat_interleave(3)


@four.mistake(
    "one mean for all KV heads",
    "You divided by the mean over all KV heads. Each has its own: mean over positions alone.",
)
def _(s):
    norms = _values(s).norm(dim=-1)
    return (norms[0] / norms[1:].mean()).repeat_interleave(3)


@four.mistake(
    "layer off by one", f"These are the values of layer {LAYER - 1}. Layers count from 0."
)
def _(s):
    v = s.run("text")[f"blocks.{LAYER - 1}.attn.hook_v"][0]
    return _ratio(v.norm(dim=-1)).repeat_interleave(3)


@four.mistake("one layer too late", f"These are the values of layer {LAYER + 1}.")
def _(s):
    v = s.run("text")[f"blocks.{LAYER + 1}.attn.hook_v"][0]
    return _ratio(v.norm(dim=-1)).repeat_interleave(3)


@four.mistake("the code instead of the text", "These are the values on the code. Run `text`.")
def _(s):
    v = s.run("code")[f"blocks.{LAYER}.attn.hook_v"][0]
    return _ratio(v.norm(dim=-1)).repeat_interleave(3)


# --- 5: active and dormant heads ------------------------------------------------------------------

five = Exercise(
    "attention-5",
    2,
    "how much more each head rests in prose than in code: its mean attention to the first token on"
    " the text minus the same on the code, a table of 30 layers by 9 heads",
    ("layer", "head"),
    hints=(
        "A head rests where it gives its attention to the first token: that is exercise 2, but for"
        " each head by itself, and on two inputs.",
        "For one input: the first column, destinations from 1 on, mean over destinations alone. That"
        " leaves [layer, head].",
        'rest = torch.stack([cache[f"blocks.{l}.attn.hook_pattern"][0, :, 1:, 0].mean(-1) for l in'
        " layers]), once with the cache of text and once with that of code; then subtract.",
    ),
    remember="One head gives the first token .4 more of its attention in this prose than in this code, and"
    ' another one .4 less. "This head is a sink" is a statement about a head *and* a text.',
)


def _rest(s, name: str) -> Tensor:
    """Mean attention of each head to the first token [layer head]."""
    return s.patterns(name)[:, 0, :, 1:, 0].mean(-1)


@five.right
def _(s):
    def rest(tokens):
        _, cache = s.model.run_with_cache(tokens)
        layers = range(s.model.cfg.n_layers)
        firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][0, :, 1:, 0] for layer in layers]
        return torch.stack(firsts).mean(-1)  # [layer, head]

    return rest(s.text) - rest(s.code)


@five.another
def _(s):
    text, code = (pattern_scores.first_token(s.patterns(n), 0).mean(1) for n in ("text", "code"))
    return text - code


@five.mistake(
    "code minus prose",
    "The sign is turned: it is the text minus the code, so that a head that rests in prose and works"
    " in code is positive.",
)
def _(s):
    return _rest(s, "code") - _rest(s, "text")


@five.mistake(
    "the first row counted as well",
    "You averaged over destination 0 too, where every head gives the first token 1: begin at 1.",
)
def _(s):
    return s.patterns("text")[:, 0, :, :, 0].mean(-1) - s.patterns("code")[:, 0, :, :, 0].mean(-1)


@five.mistake(
    "prose alone", "That is how much each head rests in prose. Subtract how much it rests in code."
)
def _(s):
    return _rest(s, "text")


@five.mistake(
    "code alone", "That is how much each head rests in code. Begin with prose, and subtract this."
)
def _(s):
    return _rest(s, "code")


@five.mistake(
    "a ratio instead of a difference",
    "You divided. For a head that never rests that is a small number over a small one: subtract.",
)
def _(s):
    return _rest(s, "text") / _rest(s, "code")


@five.mistake(
    "tokens counted instead of attention",
    "You counted at how many tokens a head gives the first one more than a half. That is a good"
    " question, too, but asked for is the mean of the attention itself.",
)
def _(s):
    text, code = ((s.patterns(n)[:, 0, :, 1:, 0] > 0.5).float().mean(-1) for n in ("text", "code"))
    return text - code


@five.mistake(
    "destination and source swapped",
    "You took what the first token looks at (a row) instead of who looks at it (a column). It can see"
    " nothing but itself, so all heads come out alike.",
)
def _(s):
    return s.patterns("text")[:, 0, :, 0].mean(-1) - s.patterns("code")[:, 0, :, 0].mean(-1)


@five.mistake(
    "BOS forgotten",
    "You ran the two without their first token <|im_start|>. Then a word of the text, and another one"
    " of the code, becomes the sink. Use the ids as given.",
)
def _(s):
    def rest(ids: Tensor) -> Tensor:
        _, cache = s.model.run_with_cache(ids[:, 1:])
        layers = range(s.model.cfg.n_layers)
        firsts = [cache[f"blocks.{layer}.attn.hook_pattern"][0, :, 1:, 0] for layer in layers]
        return torch.stack(firsts).mean(-1)

    return rest(s.text) - rest(s.code)


@five.mistake(
    "a row instead of the column",
    "All are zero: you took what the first token looks at, in a row. It sees nothing behind it. Who looks"
    " at it is the first column, pattern[..., 1:, 0].",
)
def _(s):
    return 0 * _rest(s, "text")


@five.mistake(
    "the sign lost",
    "You took absolute values. The sign says in which of the two a head rests more: leave it.",
)
def _(s):
    return (_rest(s, "text") - _rest(s, "code")).abs()


@five.mistake(
    "sums over positions",
    "You added attention up over destinations, so the longer input counts more. Take means.",
)
def _(s):
    text, code = (s.patterns(n)[:, 0, :, 1:, 0].sum(-1) for n in ("text", "code"))
    return text - code


@five.mistake(
    "the last token alone",
    "That is attention from the last token alone. Average over destinations from 1 on.",
)
def _(s):
    text, code = (s.patterns(n)[:, 0, :, -1, 0] for n in ("text", "code"))
    return text - code


# --- 6: retrieval heads and induction heads -------------------------------------------------------

six = Exercise(
    "attention-6",
    2,
    "Spearman's correlation over the 270 heads between the induction score and the attention from END"
    " to the needle, one number",
    hints=(
        "A retrieval score for each head: the pattern from the last position to the needle's position,"
        " averaged over the prompts. The induction score you have from attention-1.",
        'needle = task.positions["NEEDLE"]; pattern[rows, :, -1, needle] is [prompt, head].',
        "scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic, both tables in the same order.",
    ),
    remember="The two rankings agree in part. Is that about the *needle*? A correlation needs a"
    " control, like everything else: see below.",
)


def _needle(s, dest: int = -1, off: int = 0, what: str = "NEEDLE", n: int = 4) -> np.ndarray:
    """Attention from a position to the needle [layer head]."""
    at = s.task.positions[what][:n] + off
    patterns = s.patterns("task")
    return to_numpy(patterns[:, torch.arange(n), :, dest, at].mean(0))


def _induction(s) -> np.ndarray:
    return to_numpy(_diagonal(s.patterns("tokens"), BLOCK - 1))


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a.ravel(), b.ravel()).statistic)


@six.right
def _(s):
    from scipy.stats import spearmanr

    _, cache = s.model.run_with_cache(s.task.clean)
    rows, needle = torch.arange(4), s.task.positions["NEEDLE"]
    layers = range(s.model.cfg.n_layers)
    looks = [cache[f"blocks.{layer}.attn.hook_pattern"][rows, :, -1, needle] for layer in layers]
    retrieval = torch.stack(looks).mean(1)  # [layer, head]
    _, cache = s.model.run_with_cache(s.tokens)
    dest = torch.arange(21, 41)
    looks = [cache[f"blocks.{layer}.attn.hook_pattern"][:, :, dest, dest - 19] for layer in layers]
    induction = torch.stack(looks).mean((1, 3))  # of exercise 1
    return spearmanr(induction.ravel().cpu(), retrieval.ravel().cpu()).statistic


@six.another
def _(s):
    ranks = [np.argsort(np.argsort(x.ravel())) for x in (_induction(s), _needle(s))]
    return np.corrcoef(*ranks)[0, 1]


@six.mistake(
    "Pearson's correlation",
    "That is Pearson's correlation: a few heads with large scores rule it. Spearman's compares ranks.",
)
def _(s):
    return float(np.corrcoef(_induction(s).ravel(), _needle(s).ravel())[0, 1])


@six.mistake(
    "layers and heads mixed up",
    "One of the tables was flattened by layers and the other by heads, so different heads stand beside"
    " each other.",
)
def _(s):
    return _spearman(_induction(s), _needle(s).T)


@six.mistake(
    "the token after the needle",
    "You took attention to the token after the needle. The needle's own position holds the answer.",
)
def _(s):
    return _spearman(_induction(s), _needle(s, off=1))


@six.mistake(
    "not from the last position",
    "You read the row of another destination. The answer is predicted at END, the last one.",
)
def _(s):
    return _spearman(_induction(s), _needle(s, dest=-2))


@six.mistake(
    "the duplicate-token score",
    "The table that you compare with holds attention to the same token, not to the one after it: see"
    " attention-1.",
)
def _(s):
    return _spearman(to_numpy(_diagonal(s.patterns("tokens"), BLOCK)), _needle(s))


@six.mistake(
    "layers instead of heads",
    "You averaged over the heads of each layer first. Asked for is the correlation over 270 heads.",
)
def _(s):
    return _spearman(_induction(s).mean(1), _needle(s).mean(1))


@six.mistake(
    "the other place",
    'You took attention to the other place of the story. The needle is task.positions["NEEDLE"].',
)
def _(s):
    return _spearman(_induction(s), _needle(s, what="OTHER"))


@six.mistake(
    "the token before the needle",
    "You took attention to the token before the needle. Positions count from 0, with <|im_start|>.",
)
def _(s):
    return _spearman(_induction(s), _needle(s, off=-1))


@six.mistake("one prompt alone", "That is the first prompt alone. Average over the four.")
def _(s):
    return _spearman(_induction(s), _needle(s, n=1))


@six.mistake(
    "the first prompt's needle in every prompt",
    "You took the place where the *first* prompt has its needle in every prompt. It stands elsewhere in"
    " the others: index with torch.arange(4) beside it.",
)
def _(s):
    at = int(s.task.positions["NEEDLE"][0])
    return _spearman(_induction(s), to_numpy(s.patterns("task")[..., -1, at].mean(1)))


@six.mistake(
    "the induction table turned",
    "The induction table was flattened by heads and the other by layers, so different heads stand beside"
    " each other.",
)
def _(s):
    return _spearman(_induction(s).T, _needle(s))


# --- 7: knock-out in windows ----------------------------------------------------------------------

seven = Exercise(
    "attention-7",
    3,
    f"the change of the answer's mean log-probability when END cannot look at the needle in eight layers,"
    f" beginning at layers {WINDOWS}, four numbers",
    ("window",),
    hints=(
        "Attention is blocked before the softmax: then the rest of the row shares what is left over.",
        'A hook on "blocks.{layer}.attn.hook_attn_scores" [prompt, head, dest, src] sets'
        " scores[rows, :, -1, needle] = -inf; one hook for each of the eight layers.",
        "log_softmax of the logits at the last position, gather the answers, mean; the blocked run minus"
        " the free run. The last window has layers 22 to 29.",
    ),
    remember="In the first sixteen layers END need not see the needle at all; it is read in the"
    " later ones.",
)


def _at_end(s, logits: Tensor) -> Tensor:
    """The answer's log-probability for each prompt."""
    return logits[:, -1].log_softmax(-1).gather(1, s.task.answers)[:, 0]


def _free(s) -> Tensor:
    return s.once("free", lambda: s.model(s.task.clean))


def _blocked(
    s,
    layers,
    *,
    what: str = "attn_scores",
    dest: Any = -1,
    to: float = -math.inf,
    at: str = "NEEDLE",
) -> Tensor:
    rows, needle = torch.arange(len(s.task)), s.task.positions[at]

    def block(act: Tensor, hook: Any) -> Tensor:
        act = act.clone()
        if dest is None:  # every later position
            for i, place in enumerate(needle.tolist()):
                act[i, :, place + 1 :, place] = to
        else:
            act[rows, :, dest, needle] = to
        return act

    hooks = [(f"blocks.{layer}.attn.hook_{what}", block) for layer in layers]
    return s.model.run_with_hooks(s.task.clean, fwd_hooks=hooks)


def _runs(s, length: int = 8, off: int = 0, **how) -> list[Tensor]:
    """The logits of the blocked runs, one for each window."""
    n = s.model.cfg.n_layers
    spans = [range(max(0, w + off), min(n, w + off + length)) for w in WINDOWS]
    made = f"blocked {length} {off} {how}"
    return s.once(made, lambda: [_blocked(s, span, **how) for span in spans])


def _windows(s, score=None, **how) -> list[float]:
    """The change of a score of the logits, for each window."""

    def mean(logits: Tensor) -> float:
        return float(_at_end(s, logits).mean())

    score = score or mean
    return [score(logits) - score(_free(s)) for logits in _runs(s, **how)]


@seven.right
def _(s):
    rows, needle = torch.arange(4), s.task.positions["NEEDLE"]

    def block(scores, hook):
        scores[rows, :, -1, needle] = -torch.inf
        return scores

    def log_prob(hooks):
        logits = s.model.run_with_hooks(s.task.clean, fwd_hooks=hooks)[:, -1]
        return logits.log_softmax(-1).gather(1, s.task.answers).mean()

    def hooks(first):
        layers = range(first, first + 8)
        return [(f"blocks.{layer}.attn.hook_attn_scores", block) for layer in layers]

    free = log_prob([])
    return [log_prob(hooks(first)) - free for first in (0, 8, 16, 22)]


@seven.another
def _(s):
    cut = interp.attention_knockout(
        s.model, s.task, "END", "NEEDLE", window=8, every=2, metric="log_prob"
    )
    return [cut.values[(first + 4) // 2] for first in WINDOWS]  # a window is named by its centre


@seven.mistake(
    "blocked after the softmax",
    "You set the pattern to zero after the softmax. Then the row no longer sums to one: the head writes"
    " less of everything. Block the scores instead.",
)
def _(s):
    return _windows(s, what="pattern", to=0.0)


@seven.mistake(
    "every position blocked",
    "You blocked every later token from the needle. Others then cannot pass it on, either: only END's"
    " row is asked for.",
)
def _(s):
    return _windows(s, dest=None)


@seven.mistake(
    "one layer instead of eight",
    "You blocked a single layer. The next ones read what it missed: block eight at once.",
)
def _(s):
    return _windows(s, length=1)


@seven.mistake("window off by one", "Your windows begin one layer later than asked.")
def _(s):
    return _windows(s, off=1)


@seven.mistake(
    "scores set to zero",
    "You set the scores to zero. A score of zero is not no attention: the softmax makes a share of it."
    " Minus infinity blocks.",
)
def _(s):
    return _windows(s, to=0.0)


@seven.mistake(
    "logits instead of log-probabilities",
    "That is the change of the answer's logit. All logits move up or down together; take log_softmax"
    " first.",
)
def _(s):
    return _windows(s, lambda logits: float(logits[:, -1].gather(1, s.task.answers).mean()))


@seven.mistake(
    "the log-probability instead of its change",
    "These are the log-probabilities of the blocked runs. Subtract that of the free run.",
)
def _(s):
    return [float(_at_end(s, logits).mean()) for logits in _runs(s)]


@seven.mistake(
    "the hook changes nothing",
    "Nothing changed in any window. Does the hook return the scores, does it change the ones that it"
    " returns, and is its name one of the model's (try `name in model.hook_dict`: a name that is not there"
    " is ignored in silence)? Or are rows and columns swapped: attention from the needle *to* END does not"
    " exist, so blocking it does nothing.",
)
def _(s):
    return [0.0] * len(WINDOWS)


@seven.mistake(
    "probabilities instead of log-probabilities",
    "That is the change of the answer's probability. Take logarithms: log_softmax.",
)
def _(s):
    return _windows(s, lambda logits: float(_at_end(s, logits).exp().mean()))


@seven.mistake(
    "the log of the mean",
    "You averaged probabilities and took the log then. Take the log of each prompt's, and average.",
)
def _(s):
    return _windows(s, lambda logits: float(_at_end(s, logits).exp().mean().log()))


@seven.mistake("the sum over prompts", "You added the prompts up: take the mean.")
def _(s):
    return [len(s.task) * change for change in _windows(s)]


@seven.mistake("one prompt alone", "That is the first prompt alone. Average over the four.")
def _(s):
    return _windows(s, lambda logits: float(_at_end(s, logits)[0]))


@seven.mistake(
    "the answer's logit difference",
    "That is the change of the answer's logit minus the other place's. Asked for is the answer's"
    " log-probability.",
)
def _(s):
    def difference(logits: Tensor) -> float:
        last, task = logits[:, -1], s.task
        return float((last.gather(1, task.answers) - last.gather(1, task.wrong)).mean())

    return _windows(s, difference)


@seven.mistake(
    "free minus blocked",
    "The sign is turned: asked for is blocked minus free, so a loss is negative.",
)
def _(s):
    return [-change for change in _windows(s)]


@seven.mistake(
    "the other place blocked",
    'You blocked attention to the other place of the story. The needle is task.positions["NEEDLE"].',
)
def _(s):
    return _windows(s, at="OTHER")


EXERCISES = [one, two, three, four, five, six, seven]
