"""The options of a small transformer, checked before anything is built."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from interp._errors import short, unknown

ATTENTION = {
    "softmax": "softmax of the scores",
    "relu": (
        "ReLU of the scores over the number of positions seen (Wortsman et al. 2023, arXiv"
        " 2309.08586)"
    ),
    "sigmoid": "sigmoid of the scores, rows not normalised (Gu et al. 2024, arXiv 2410.10781)",
    "sigmoid_norm": "sigmoid of the scores over its row's sum",
    "linear": "the scores themselves",
    "uniform": "the same weight on every position seen",
    "static": "softmax of learned scores that depend on positions alone",
    "none": "no attention: the head writes zero",
}
FIXED = ("uniform", "static", "none")  # kinds that read no queries and keys
NORMS = ("layer", "rms", "none")
POSITIONS = ("learned", "rotary", "none")
ACTS = ("relu", "gelu", "silu", "tanh", "square", "linear")
EMBEDS = ("learned", "identity")
MOST_LAYERS, MOST_WIDE = 1_000, 10_000_000  # more is a typo, and would fill the memory


@dataclass(frozen=True)
class Spec:
    """The parts and sizes of a small transformer.

    Attributes:
        d_vocab: Tokens in and out.
        n_layers, n_heads, d_model, d_head, n_ctx: Sizes; d_head is d_model / n_heads if None.
        attention: One of `ATTENTION` for all layers, or one per layer.
        mlp: Width of the MLP for all layers, or one per layer; 0 or None for none.
        act: Activation of the MLP.
        norm: "layer", "rms" or "none".
        positions: "learned", "rotary" or "none".
        embed: "learned", or "identity" (one-hot tokens, or vectors as they are; d_model is then
            their width).
        n_kv_heads: Heads of keys and values, if fewer than n_heads.
        qk_norm: Queries and keys are RMS-normalised with a learned gain, before the rotation.
        key_bias: One more learned key per KV head that holds no token; its value is 0, or learned
            with value_bias (Gu et al. 2024, arXiv 2410.10781). The pattern's rows then sum to less
            than one.
        value_bias: See key_bias.
        bias: Biases of Q, K, V, O.
        mlp_bias: Biases of the MLP.
        tied: Whether embedding and unembedding share weights.
        identity: Which of Q, K, V, O are fixed to the identity (needs d_head = d_model): ("K",)
            leaves W_O and W_V as two factors, ("K", "V") makes W_O the one combined matrix.
        attention_scale: Multiplies the scores; d_head ** -0.5 if None.
        d_in: The width of input vectors, if the model reads vectors [batch pos d_in]; d_vocab then
            counts its outputs alone.
        init_scale: Multiplies every random initial weight (normal, 1 / sqrt(fan in)).
        query_start: A number at which every weight of W_Q starts instead of a random one; above 0,
            linear attention over one-hot tokens starts positive.

    Raises:
        ValueError: If an option is unknown, or options do not go together.
    """

    d_vocab: int
    n_layers: int = 2
    n_heads: int = 1
    d_model: int = 64
    d_head: int | None = None
    attention: str | list[str] | tuple[str, ...] = "softmax"
    mlp: int | None | list[int] | tuple[int, ...] = None
    act: str = "relu"
    norm: str = "layer"
    positions: str = "learned"
    embed: str = "learned"
    n_ctx: int = 64
    n_kv_heads: int | None = None
    qk_norm: bool = False
    key_bias: bool = False
    value_bias: bool = False
    bias: bool = False
    mlp_bias: bool = True
    tied: bool = False
    identity: tuple[str, ...] | list[str] = ()
    attention_scale: float | None = None
    d_in: int | None = None
    init_scale: float = 1.0
    query_start: float | None = None

    def __post_init__(self) -> None:
        def put(name, value):
            return object.__setattr__(self, name, value)

        for name, known in (
            ("act", ACTS),
            ("norm", NORMS),
            ("positions", POSITIONS),
            ("embed", EMBEDS),
        ):
            if getattr(self, name) not in known:
                raise unknown(name, getattr(self, name), known, f"{name}={known[0]!r}")
        self._check_numbers()
        put("attention", self._each("attention", self.attention, str))
        put("mlp", self._each("mlp", self.mlp or 0, int))
        if any(not 0 <= width <= MOST_WIDE for width in self.mlp):
            raise ValueError(f"mlp={short(self.mlp)}: each a whole number from 0 to {MOST_WIDE:,}")
        if not isinstance(self.identity, list | tuple):
            raise ValueError(f"identity={short(self.identity)}: a list such as ('K', 'V')")
        put("identity", tuple(self.identity))
        for kind in self.attention:
            if kind not in ATTENTION:
                raise unknown("kind of attention", kind, ATTENTION, "attention='softmax'")
        if self.d_head is None:
            if self.d_model % self.n_heads:
                raise ValueError(
                    f"d_model={self.d_model} is not a multiple of n_heads={self.n_heads}: say"
                    " d_head too"
                )
            put("d_head", self.d_model // self.n_heads)
        put("n_kv_heads", self.n_kv_heads or self.n_heads)
        self._check()

    def _check_numbers(self) -> None:
        """None if every size is one that a small model can have, and every factor a number."""
        sizes = {"d_vocab": False, "n_layers": False, "n_heads": False, "d_model": False}
        sizes |= {"n_ctx": False, "d_head": True, "n_kv_heads": True, "d_in": True}
        for name, optional in sizes.items():
            value, most = getattr(self, name), MOST_LAYERS if name == "n_layers" else MOST_WIDE
            if optional and value is None:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise ValueError(f"{name}={short(value)}: a whole number from 1 to {most:,}")
        for name in ("attention_scale", "init_scale", "query_start"):
            value = getattr(self, name)
            if value is None and name != "init_scale":
                continue
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name}={short(value)}: a finite number")

    def _each(self, name: str, value: Any, kind: type) -> tuple:
        """An option as one value per layer."""
        values = tuple(value) if isinstance(value, list | tuple) else (value,) * self.n_layers
        if len(values) != self.n_layers or not all(isinstance(x, kind) for x in values):
            raise ValueError(
                f"{name}={short(value)}: one {kind.__name__} for all {self.n_layers} layers, or one"
                " for each"
            )
        return values

    def _check(self) -> None:
        """None if the options go together; otherwise a ValueError."""
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"n_heads={self.n_heads} is not a multiple of n_kv_heads={self.n_kv_heads}: KV"
                " heads are shared evenly"
            )
        if self.positions == "rotary" and self.d_head % 2:
            raise ValueError(
                f"rotary positions turn pairs of dimensions: d_head={self.d_head} must be even"
            )
        wrong = [x for x in self.identity if x not in ("Q", "K", "V", "O")]
        if wrong:
            raise unknown("matrix", wrong[0], ("Q", "K", "V", "O"), "identity=('K', 'V')")
        if self.identity and not (
            self.n_heads == self.n_kv_heads == 1 and self.d_head == self.d_model
        ):
            raise ValueError(
                "a matrix is the identity only with one head of d_head = d_model: say n_heads=1"
            )
        width = self.d_in or self.d_vocab
        if self.embed == "identity" and self.d_model != width:
            raise ValueError(
                f"embed='identity' keeps the input's width: d_model={self.d_model} should be"
                f" {width}"
            )
        if self.tied and self.d_in:
            raise ValueError(
                "tied=True shares the embedding of tokens, and this model reads vectors (d_in)"
            )
        if self.value_bias and not self.key_bias:
            raise ValueError("value_bias=True needs key_bias=True: it is the value of that key")
        unsuited = [kind for kind in self.attention if kind in FIXED]
        if self.key_bias and unsuited:
            raise ValueError(
                f"key_bias=True needs attention that reads keys, and {unsuited[0]!r} does not"
            )

    @property
    def d_mlp(self) -> int:
        """The width of the widest MLP (0: attention only)."""
        return max(self.mlp)

    def options(self) -> dict[str, Any]:
        """The options as plain JSON values: `spec(**s.options()) == s`."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


def spec(**options: Any) -> Spec:
    """The Spec of these options; a ValueError with the nearest names for an unknown one."""
    checked(options, Spec, "option of a small transformer", "d_vocab=64, attention='relu'")
    if "d_vocab" not in options:
        raise ValueError(
            "a small transformer needs d_vocab, its number of tokens (try"
            " toys.transformer(d_vocab=64))"
        )
    return Spec(**options)


def checked(options: Mapping[str, Any], kind: type, what: str, example: str) -> None:
    """None if every name is a field of this dataclass, else a ValueError with the nearest ones."""
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            raise unknown(what, name, known, example)
