from interp.features.circuits import drawing as drawing
from interp.features.circuits import feature_circuit as feature_circuit
