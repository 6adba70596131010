"""Free text (names of runs, labels, channels, boards) in other languages: one function for each.

Whatever a person wrote reaches a picture, a terminal, C, JSON, XML, Kconfig, CMake, Make or
Markdown only through these, so that what is read there is what was written. One language a file;
text that no language can carry is refused by :mod:`fedtiny.escaping.free_text` before work starts.
"""
