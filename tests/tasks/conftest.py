"""The models whose tokenizers the tasks are tried on."""

import pytest


@pytest.fixture(params=["tiny", pytest.param("smollm2", marks=pytest.mark.model)])
def model(request):
    return request.getfixturevalue(request.param)
