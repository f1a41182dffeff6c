"""Augmentations: how the inputs of one modality change at random in training, by kind.

All draw from the random generator of the device, whose state every checkpoint holds, and never wait for the device.
"""
