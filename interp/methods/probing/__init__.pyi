from interp.methods.probing.probe import probe as probe
from interp.methods.probing.probe import probe_direction as probe_direction
