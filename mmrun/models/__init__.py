"""The multimodal model and its parts: encoders, fusions and adapters."""
