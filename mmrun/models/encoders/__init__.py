"""Encoders: the raw tensors of one modality -> Features. One file per family; types.py defines what each kind reads."""
