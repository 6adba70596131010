"""A picture becomes a few bytes on the device; the server makes a class of them.

Encoders are layer graphs, exported like any other model; what follows them on the device is a table
and a range coder (``c/``). Decoders and classifiers stay on the server (``server/``, PyTorch).
"""
