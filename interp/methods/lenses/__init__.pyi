from interp.methods.lenses.jacobian_lens import jacobian_lens as jacobian_lens
from interp.methods.lenses.lens import Lens as Lens
from interp.methods.lenses.lens import read_jacobian_lens as read_jacobian_lens
from interp.methods.lenses.logit_attribution import logit_attribution as logit_attribution
from interp.methods.lenses.logit_lens import logit_lens as logit_lens
from interp.methods.lenses.patchscope import patchscope as patchscope
from interp.methods.lenses.tuned_lens import tuned_lens as tuned_lens
from interp.methods.lenses.write_lens import write_lens as write_lens
