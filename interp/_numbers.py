"""The one way out of torch: tensors of any device and number type become numpy arrays here and
nowhere else.
"""

import numpy as np
from torch import Tensor


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The tensor's numbers as a numpy array: off its device, out of the graph, floating point as
    float64.

    Example:
        >>> to_numpy(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
        array([1., 1.])

    float64 holds every float32, bfloat16 and float16 exactly. Integers and booleans keep their
    type.
    """
    tensor = tensor.detach().cpu()
    return (tensor.double() if tensor.is_floating_point() else tensor).numpy()
