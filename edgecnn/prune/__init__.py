"""Pruning: whole channels are taken out of a trained network, and the rest is trained on.

``target`` says how small, ``groups`` which channels go together, ``importance`` which matter least, ``plan`` how wide
each layer becomes, ``search`` finds the plan whose file costs as much as wanted, ``iterate`` cuts and trains in steps.
"""
