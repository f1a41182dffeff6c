"""Why a run predicts what it does: contributions of the modalities, and saliency inside each of them."""
