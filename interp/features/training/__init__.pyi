from interp.features.training import architectures as architectures
from interp.features.training import mutual_choice as mutual_choice
from interp.features.training import topk_step as topk_step
from interp.features.training import train_cache as train_cache
from interp.features.training import train_checkpoint as train_checkpoint
from interp.features.training import zipf as zipf
