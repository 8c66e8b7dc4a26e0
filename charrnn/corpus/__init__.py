"""Text as sequences of characters: reading, splitting, encoding and partitioning, with NumPy alone.

`readers` opens files and decodes them, `splitting` finds the sequences in a text, `encoded` turns a
corpus of any size into memory-mapped arrays that `store` keeps on disk, `sequences` is what all other layers
see of it, `vocabulary` maps its characters to the model's symbols, `hashing` and `partition` divide it into
training, validation and test.
"""
