from interp.methods.attention import pattern_scores as pattern_scores
from interp.methods.attention import task_scores as task_scores
from interp.methods.attention.attention_patterns import attention_between as attention_between
from interp.methods.attention.attention_patterns import attention_patterns as attention_patterns
from interp.methods.attention.attention_sinks import activation_norms as activation_norms
from interp.methods.attention.attention_sinks import attention_received as attention_received
from interp.methods.attention.head_scores import head_scores as head_scores
from interp.methods.attention.pattern_maps import attention_by_distance as attention_by_distance
from interp.methods.attention.pattern_maps import pattern_components as pattern_components
from interp.methods.attention.pattern_maps import (
    pattern_variance_explained as pattern_variance_explained,
)
from interp.methods.attention.residual_norms import residual_norms as residual_norms
