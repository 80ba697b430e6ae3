from interp.features.factorisation import nonnegative as nonnegative
