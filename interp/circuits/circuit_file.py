"""The form of a circuit's file: each field with its type and limits, checked before it is used."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

MOST_LAYERS = 1_000
MOST_PLACES = 100_000
MOST_HEADS = 50_000  # layers times heads; the largest models have 16,128


class _Form(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


Count = Annotated[int, Field(ge=1, le=10_000_000)]
Share = Annotated[float, Field(allow_inf_nan=False)]


class GraphForm(_Form):
    """The model's shape."""

    model_config = ConfigDict(strict=True, extra="forbid")
    n_layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)]
    n_heads: Annotated[int, Field(ge=1, le=MOST_LAYERS)]
    n_kv_heads: Annotated[int, Field(ge=1, le=MOST_LAYERS)]
    parallel: bool = False

    @model_validator(mode="after")
    def _of_a_model(self) -> "GraphForm":
        if self.n_layers * self.n_heads > MOST_HEADS:
            raise ValueError(
                f"should be a model's shape ({self.n_layers} layers x {self.n_heads} heads are more"
                f" than {MOST_HEADS:,})"
            )
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"should be a model's shape ({self.n_heads} heads cannot share {self.n_kv_heads} KV"
                " heads evenly)"
            )
        return self


class TaskForm(_Form):
    """The task that it was found on."""

    name: str | None = None
    n: Count | None = None
    seed: int | None = None
    split: str | None = None
    make: str | None = None
    options: dict[str, Any] = {}
    prompts: list[str] = []


class SourceForm(_Form):
    """Where it comes from."""

    kind: str = ""
    method: str | None = None
    cite: str | None = None
    options: dict[str, Any] = {}
    unit: str | None = None


class RandomForm(_Form):
    """What random circuits got in the same evaluation."""

    faithfulness: Share | None = None
    sets: Count | None = None
    match: str | None = None


class EvaluationForm(_Form):
    """The numbers of the run that evaluated it."""

    faithfulness: Share | None = None
    completeness: Share | None = None
    clean: Share | None = None
    corrupted: Share | None = None
    interval: Annotated[list[Share], Field(min_length=2, max_length=2)] | None = None
    n: Count | None = None
    seed: int | None = None
    by: str | None = None
    metric: str | None = None
    split: str | None = None
    task: str | None = None
    random: RandomForm | None = None


class CircuitForm(_Form):
    """A circuit as `Circuit.save` writes it; edges are lists of sender, receiver and score, in
    schema 2 of sender, receiver, place and score.
    """

    model_config = ConfigDict(strict=True, extra="ignore")
    model: str
    graph: GraphForm
    task: TaskForm = TaskForm()
    source: SourceForm = SourceForm()
    evaluation: EvaluationForm = EvaluationForm()
    roles: dict[str, list[str]] = {}
    convention: str = ""
    places: Annotated[list[str], Field(max_length=MOST_PLACES)] = []
    edges: list[
        Annotated[
            list[str | Annotated[float, Field(allow_inf_nan=False)]],
            Field(min_length=2, max_length=4),
        ]
    ]

    @model_validator(mode="after")
    def _edges_are_named(self) -> "CircuitForm":
        ends = 3 if self.places else 2
        form = "[sender, receiver, place, score]" if self.places else "[sender, receiver, score]"
        for edge in self.edges:
            names, score = edge[:ends], edge[ends:]
            if (
                len(names) < ends
                or len(score) > 1
                or not all(isinstance(name, str) for name in names)
                or any(isinstance(x, str) for x in score)
            ):
                raise ValueError(f"should have edges {form}, not {edge!r:.80}")
        return self
