"""A tokenizer of another model is noticed before an id goes astray."""

import pytest
import torch

import interp


@pytest.mark.parametrize("backend", ["engine", "hooks"])
def test_a_token_beyond_the_vocabulary_is_one_sentence(tiny, backend):
    beyond = torch.tensor([[1, interp.models.bridge.dims(tiny).d_vocab]])
    with pytest.raises(ValueError, match="beyond the model's vocabulary|token ids must be 0 to"):
        if backend == "engine":
            interp.engine.run(interp.engine.find(tiny), beyond)
        else:
            interp.run(tiny, beyond)
