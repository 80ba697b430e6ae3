from interp.methods.weights.composition import composition as composition
from interp.methods.weights.ov_qk import ov_readout as ov_readout
from interp.methods.weights.ov_qk import qk_readout as qk_readout
