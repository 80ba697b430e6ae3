"""The default model's circuits that come with us: a stored evaluation, measured again, says the
same.
"""

from pathlib import Path

import pytest

import interp
from interp import Circuit

FILES = sorted(
    (Path(__file__).resolve().parents[2] / "circuits" / "smollm2-135m").glob("*/eap-ig.json")
)


def test_all_were_found_and_judged_alike():
    circuits = [Circuit.load(file) for file in FILES]
    assert len(circuits) == 6
    for circuit in circuits:
        assert (
            circuit.source["n"] == 1413 >= len(circuit) == len(circuit.prune())
            and circuit.source["options"]["steps"] == 5
        )
        assert {k: circuit.task[k] for k in ("n", "seed", "split")} == {
            "n": 16,
            "seed": 0,
            "split": "find",
        }
        assert {k: circuit.evaluation[k] for k in ("n", "seed", "split", "by")} == {
            "n": 32,
            "seed": 1,
            "split": "heldout",
            "by": "resample",
        }
        low, high = circuit.evaluation["interval"]
        assert low < circuit.evaluation["faithfulness"] < high
        # worth something beside random circuits of its size
        assert low > 0.5 and abs(circuit.evaluation["random"]["faithfulness"]) < 0.05


@pytest.mark.parametrize("name", ["capitals", "ioi"])
def test_a_stored_evaluation_is_what_is_measured_now(smollm2, name):
    circuit = Circuit.load(next(file for file in FILES if file.parent.name == name))
    said = circuit.evaluation
    task = interp.tasks.make(name, smollm2, n=said["n"], seed=said["seed"], split=said["split"])
    found = interp.evaluate(smollm2, task, circuit, sets=1)
    now = dict(zip(found.coords["measure"], found.values))
    measures = ("faithfulness", "completeness", "clean", "corrupted")
    assert {k: now[k] for k in measures} == pytest.approx({k: said[k] for k in measures}, abs=2e-2)
    assert list(found.sel(measure="faithfulness").ci()) == pytest.approx(said["interval"], abs=2e-2)
