from interp.methods.ablation.ablate import ablate as ablate
from interp.methods.ablation.attention_knockout import attention_knockout as attention_knockout
from interp.methods.ablation.joint_ablation import greedy_ablation as greedy_ablation
from interp.methods.ablation.joint_ablation import pairwise_ablation as pairwise_ablation
from interp.methods.ablation.ranked_ablation import ranked_ablation as ranked_ablation
from interp.methods.ablation.token_sets import token_set as token_set
from interp.methods.ablation.token_sets import token_sets as token_sets
