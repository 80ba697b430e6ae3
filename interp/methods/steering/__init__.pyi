from interp.methods.steering.direction import Direction as Direction
from interp.methods.steering.direction import difference_of_means as difference_of_means
from interp.methods.steering.direction import function_vector as function_vector
from interp.methods.steering.direction import task_vector as task_vector
from interp.methods.steering.generate import generate as generate
from interp.methods.steering.matched_kl import matched_kl_strengths as matched_kl_strengths
from interp.methods.steering.matched_kl import token_logit_gain as token_logit_gain
from interp.methods.steering.soft_injection import (
    injection_interventions as injection_interventions,
)
from interp.methods.steering.soft_injection import soft_injection as soft_injection
from interp.methods.steering.steer import steer as steer
from interp.methods.steering.steer import steering_side_effect as steering_side_effect
