"""A data set with natural clients: capital letters as typeset by one font family a client.

It is rendered type, not handwriting. ``python -m sims.glyphs fetch`` gets freely licensed fonts,
``python -m sims.glyphs make`` renders them into one ``.npz`` that :mod:`fedtiny.data.npz` reads;
``make data-fonts`` does both.
"""
