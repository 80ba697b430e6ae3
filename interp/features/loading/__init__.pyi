from interp.features.loading.check import check as check
from interp.features.loading.from_sae import from_sae as from_sae
from interp.features.loading.load import load as load
from interp.features.loading.load_all import load_all as load_all
