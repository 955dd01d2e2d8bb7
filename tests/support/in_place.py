"""What a conversion must leave as it is."""

from tf_approxgrad.conversion.traversal import all_layers


def attributes(model):
    """Every attribute of a model and its layers that isn't this package's."""
    found = []
    for layer in [model, *all_layers(model)]:
        values = dict(vars(layer))
        values.pop("_gradient_policy", None)
        # Read from the class again, and equal below if the class is.
        for name in ("_call_signature", "call_signature_parameters"):
            values.pop(name, None)
        for name in ("_call_has_training_arg", "_call_has_context_arg"):
            values.pop(name, None)
        # Traced by the former classes.
        values.pop("train_function", None)
        found.append(values)
    return found


def assert_same_objects(before, after):
    for old, new in zip(before, after, strict=True):
        assert old.keys() == new.keys()
        assert [name for name in old if old[name] is not new[name]] == []
