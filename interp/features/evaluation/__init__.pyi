from interp.features.evaluation import baselines as baselines
from interp.features.evaluation import concept_detection as concept_detection
from interp.features.evaluation import dark_matter as dark_matter
from interp.features.evaluation import gradient_pursuit as gradient_pursuit
from interp.features.evaluation import latent_usage as latent_usage
from interp.features.evaluation import probing as probing
