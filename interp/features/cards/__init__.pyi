from interp.features.cards import card_figure as card_figure
from interp.features.cards import card_html as card_html
from interp.features.cards import logit_effects as logit_effects
