"""The compiled path: text to token ids, ids to bytes, pieces counted, at the speed of the machine.

The results are those of `splitter.split` and `merging.merge`, which say what is computed; here is
how. Read in this order:

1. layouts: the tables and the memory that all the others read and write;
2. scan: the split rule on 64 bytes at a time, as bit masks;
3. merge: the pairs of one piece, the lowest rank first;
4. caches: pieces that were met before have their ids in a cache;
5. kernels: what Python calls to encode and decode;
6. memory: the tables of a vocabulary made, and a thread's workspace.

For training: piece_counts, how often each piece occurs; pair_index, where each pair occurs.

Below these lie instructions, machine instructions that Python has no word for, pieces, the bytes of
a piece hashed and compared, utf8, which checks bytes, and jit, how all is compiled and kept.

Addresses are plain integers, so text is read where it lies: in a Python string, in an Arrow
buffer. Nothing beyond its end is read. `get` and `put` are for tables, whose entries are aligned,
`load_word` and `store_word` for anything else. Every number that meets a 64-bit word is a `U`, as
Numba makes a float of a signed and an unsigned integer.
"""
