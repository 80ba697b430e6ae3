from interp.features.crosscoders.crosscoder import Crosscoder as Crosscoder
from interp.features.crosscoders.train_crosscoder import train_crosscoder as train_crosscoder
