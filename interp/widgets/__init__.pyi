from interp.widgets._head_runs import prompt_task as prompt_task
from interp.widgets.attention import attention as attention
from interp.widgets.circuit import circuit as circuit
from interp.widgets.features import features as features
from interp.widgets.heads import heads as heads
from interp.widgets.lens import lens as lens
from interp.widgets.patching import patching as patching
from interp.widgets.training import training as training
