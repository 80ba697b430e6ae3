from interp.methods.inputs.attribute import attribute as attribute
