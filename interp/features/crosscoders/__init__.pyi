from interp.features.crosscoders.cross_layer_transcoder import (
    CrossLayerTranscoder as CrossLayerTranscoder,
)
from interp.features.crosscoders.crosscoder import Crosscoder as Crosscoder
from interp.features.crosscoders.train_cross_layer_transcoder import (
    train_cross_layer_transcoder as train_cross_layer_transcoder,
)
from interp.features.crosscoders.train_crosscoder import train_crosscoder as train_crosscoder
