"""A user's ``nn.Module`` as a graph: what PyTorch exports, translated call by call.

``GraphModule(graph)`` with the arrays computes what the module does in evaluation mode, to the
rounding of float32. Layers are called as in the module. A 1-D convolution works on maps of height
1; features are channels. A batch norm becomes part of the convolution before it; after a linear
layer it is folded into the weights; elsewhere it is a layer of its own. Trained on, it has
FedTiny's epsilon and momentum. Dropout is left out, and so is softmax at the end. Weights that are
0 stay 0.
"""
