from interp.methods.finetuning.finetune import finetune as finetune
from interp.methods.finetuning.finetuned import FineTuned as FineTuned
from interp.methods.finetuning.finetuned import read_finetuned as read_finetuned
