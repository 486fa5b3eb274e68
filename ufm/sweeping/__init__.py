"""The rooms behind `ufm.sweep`.

What is swept, how a chunk of lanes is solved, where chunks are kept, and who works on them.
"""
