from interp.toys.model import parts as parts
from interp.toys.model import spec as spec
