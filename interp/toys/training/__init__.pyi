from interp.toys.training import recipe as recipe
from interp.toys.training import recipes as recipes
from interp.toys.training import runs as runs
