"""The paper's networks, as plain Keras models for `approximate_gradients`.

Their convolutions are `keras.layers.Conv2D`, in forward order in `model.layers`, so a
schedule's layer index counts them as the paper does. Their outputs are logits: train
them with a loss of `from_logits=True`.
"""

from tf_approxgrad.models.cnn2 import cnn2
from tf_approxgrad.models.resnet import resnet
from tf_approxgrad.models.vgg import vgg19

__all__ = ["cnn2", "resnet", "vgg19"]
