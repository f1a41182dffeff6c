"""Encoders: the raw tensors of one modality -> Features. A file a family; types.py says what each kind reads."""
