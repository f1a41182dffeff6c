"""mmrun: should a multimodal model be fine-tuned as one whole, or its components apart and then fused?"""

__version__ = "0.2.0"
