from interp.studies.notebooks import build as build
from interp.studies.notebooks import exercises as exercises
from interp.studies.notebooks import lint as lint
from interp.studies.notebooks import page as page
from interp.studies.notebooks import paths as paths
from interp.studies.notebooks import run as run
from interp.studies.notebooks import scoreboard as scoreboard
from interp.studies.notebooks import source as source
