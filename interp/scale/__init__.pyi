from interp.scale import identity as identity
from interp.scale import point_files as point_files
from interp.scale import workers as workers
from interp.scale.join import join as join
from interp.scale.join import points as points
from interp.scale.loaded import loaded as loaded
from interp.scale.over import over as over
