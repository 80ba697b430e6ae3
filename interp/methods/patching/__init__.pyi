from interp.methods.patching.attribution_error import attribution_error as attribution_error
from interp.methods.patching.attribution_patch import attribution_patch as attribution_patch
from interp.methods.patching.causal_trace import causal_trace as causal_trace
from interp.methods.patching.effect import effect as effect
from interp.methods.patching.patch import patch as patch
from interp.methods.patching.patched_logits import patched_logits as patched_logits
from interp.methods.patching.path_patch import path_patch as path_patch
