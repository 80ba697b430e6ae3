"""A model in a few lines: what a notebook shows where a model is the last line of a cell."""

from html import escape
from typing import Any

from interp._types import Model
from interp.models import bridge


def summary(model: Model) -> list[str]:
    """The model's name, shape and addresses, a line each.

    Example:
        >>> print("\\n".join(summary(model)))
        smollm2-135m: 30 layers of 9 heads on 3 KV heads, 134,515,008 parameters, float32 on cpu
        ...
    """
    d = bridge.dims(model)
    weight = next(model.parameters())
    count = sum(p.numel() for p in model.parameters())
    shared = f" on {d.n_kv_heads} KV heads" if d.n_kv_heads != d.n_heads else ""
    dtype = str(weight.dtype).removeprefix("torch.")
    held = f"{count:,} parameters, {dtype} on {weight.device}"
    if bridge.elsewhere(model):
        where = "on a server" if bridge.served(model) else "here"
        held = f"weights {where}, {dtype}, through nnsight"
    order = "read the same stream" if d.parallel else "follow each other"
    last = d.n_layers - 1
    lines = [
        (f"{bridge.name(model)}: {d.n_layers} layers of {d.n_heads} heads{shared}, {held}"),
        (
            f"d_model {d.d_model}, d_head {d.d_head}, d_mlp {d.d_mlp}, vocabulary {d.d_vocab:,}, "
            f"context {d.n_ctx:,} tokens, norm {d.norm}; attention and MLP {order}"
        ),
        (
            f"heads: L0H0 ... L{last}H{d.n_heads - 1}, inside them .q .z .scores .pattern; "
            f"keys and values: L0KV0.k ... L{last}KV{d.n_kv_heads - 1}.v"
        ),
        (
            f"stream: embed, resid_pre.0 ... resid_post.{last}; what is added: attn.0 ..."
            f" mlp.{last}; neurons: mlp.0.post#0"
        ),
        (
            "what a reader reads: L0H0.q_in, mlp.0.in, logits.in; a position: @4, @-1, @END; "
            "all of them: L*H*, resid_pre.*@*"
        ),
    ]
    return lines


def show_in_notebooks(model: Model) -> None:
    """Lets IPython show models of this class by their summary, not by thousands of lines of
    modules.

    Nothing is changed on the model or its class; outside IPython nothing happens.
    """
    import sys

    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return
    kind = type(model)

    def plain(one: Any, printer: Any, cycle: bool) -> None:
        printer.text("\n".join(_lines(one)))

    def html(one: Any) -> str:
        first, *rest = map(escape, _lines(one))
        return f"<b>{first}</b><br>" + "<br>".join(f"<small>{line}</small>" for line in rest)

    shell.display_formatter.formatters["text/plain"].for_type(kind, plain)
    shell.display_formatter.formatters["text/html"].for_type(kind, html)


def _lines(model: Any) -> list[str]:
    try:
        return summary(model)
    except Exception:  # a TransformerLens model that `load` did not make
        return [
            f"{type(model).__name__} with {sum(p.numel() for p in model.parameters()):,} weights"
        ]
