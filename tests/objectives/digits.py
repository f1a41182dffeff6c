"""Real images that are never labelled: what a pretext makes of a small encoder."""

import torch
from sklearn.datasets import load_digits

from mmrun.models.encoders.image import Cnn
from mmrun.objectives.augmentations.image import AugmentImage


def draw_digit_view():
    return AugmentImage(0.6, 0.0, 0.4)


def load_images():
    digits = load_digits()
    return torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1), torch.tensor(digits.target)


def measure(encoder, images, classes):
    """Return the accuracy of a linear model on the features, fitted by least squares to 50 rows."""
    with torch.no_grad():
        features = encoder.eval()(images).pooled
    features = torch.cat([(features - features.mean(0)) / (features.std(0) + 1e-3), torch.ones(len(features), 1)], 1)
    one_hot = torch.nn.functional.one_hot(classes).float()
    seen, new = slice(0, 50), slice(50, None)
    ridge = features[seen].T @ features[seen] + 5 * torch.eye(features.shape[1])
    weights = torch.linalg.solve(ridge, features[seen].T @ one_hot[seen])
    return ((features[new] @ weights).argmax(1) == classes[new]).float().mean().item()


def pretrain(build, steps, rows, lr, channels=(16, 32, 64)):
    """Train an encoder with a pretext, and return both, and how much better a linear model on its features became."""
    images, classes = load_images()
    torch.manual_seed(0)
    encoder = Cnn(in_channels=1, channels=channels, kernels=(3,) * len(channels))
    before = measure(encoder, images, classes)
    pretext = build(encoder.dim)
    pretext.attach(encoder)
    optimizer = torch.optim.Adam([*encoder.parameters(), *pretext.parameters()], lr=lr)
    for step in range(steps):
        pretext.set_progress(step / steps)
        encoder.train()
        batch = images[torch.randint(len(images), (rows,))]
        views, target = pretext.corrupt(batch, torch.ones(rows, dtype=torch.bool))
        optimizer.zero_grad()
        pretext.loss(encoder(views), target).mean().backward()
        optimizer.step()
        pretext.update(encoder)
    return encoder, pretext, measure(encoder, images, classes) - before
