from interp.methods.text.cross_entropy import cross_entropy as cross_entropy
from interp.methods.text.token_losses import chunk_losses as chunk_losses
from interp.methods.text.token_losses import token_losses as token_losses
