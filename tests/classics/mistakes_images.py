"""The mistakes with GANs, VAEs and MLPs, as `plant` plants them."""

from __future__ import annotations

from tests.classics.plant import Mistake

_TESTS = "test_mistakes_images.py::"
_GAN, _VAE, _MLP = "families/gan.py", "families/vae.py", "networks/mlp.py"
_DRAWN = """        posterior = self.posterior(batch)
        z = posterior.draw(seeds)
"""

MISTAKES = [
    Mistake(
        "detached fakes in the generator's turn",
        _GAN,
        "        fakes = self._make(batch.conditions, seeds)\n        on_fake = self._judge(fakes,",
        "        fakes = self._fakes(batch, seeds)\n        on_fake = self._judge(fakes,",
        _TESTS + "test_the_generators_turn_teaches_the_generator",
    ),
    Mistake(
        "fakes that are not detached in the discriminator's turn",
        _GAN,
        "        with torch.no_grad():\n            fakes: Tensor =",
        "        with torch.enable_grad():\n            fakes: Tensor =",
        _TESTS + "test_the_discriminators_turn_leaves_the_generator_alone",
    ),
    Mistake(
        "gradients accumulated across phases",
        _GAN,
        'Phase("generator", ("generator",))',
        'Phase("generator", ("generator", "discriminator"))',
        _TESTS + "test_the_generators_turn_leaves_the_discriminator_alone",
    ),
    Mistake(
        "noise trained as if it were data",
        _GAN,
        "real, fakes = batch.target.values, self._fakes(batch, seeds)",
        'real, fakes = noise(seeds, "data", batch.target.values.shape[1:]), self._fakes(batch, seeds)',
        _TESTS + "test_data_is_trained_as_data_and_noise_as_noise",
    ),
    Mistake(
        "uniform noise at the generator",
        _GAN,
        'return noise(seeds, "latent", (self.config.latent,))',
        'return uniform(seeds, "latent", (self.config.latent,))',
        _TESTS + "test_data_is_trained_as_data_and_noise_as_noise",
    ),
    Mistake(
        "the same noise at every step",
        _GAN,
        'return noise(seeds, "latent", (self.config.latent,))',
        'return noise(torch.arange(len(seeds)), "latent", (self.config.latent,))',
        _TESTS + "test_noise_is_fresh_every_step",
    ),
    Mistake(
        "prior samples decoded in place of the posterior's",
        _VAE,
        _DRAWN,
        _DRAWN.replace("posterior.draw(seeds)", "self.prior.draw(seeds, 1.0)"),
        _TESTS + "test_the_decoder_reads_the_posterior_through_reparameterisation",
    ),
    Mistake(
        "a posterior sample without gradient",
        _VAE,
        _DRAWN,
        _DRAWN.replace("draw(seeds)", "draw(seeds).detach()"),
        _TESTS + "test_the_decoder_reads_the_posterior_through_reparameterisation",
    ),
    Mistake(
        "mean-reduced reconstruction",
        "families/_likelihoods.py",
        'reduction="none").flatten(1).sum(1)',
        'reduction="none").flatten(1).mean(1)',
        _TESTS + "test_the_bound_sums_pixels_and_latents_alike",
    ),
    Mistake(
        "mean-reduced divergence",
        "families/_posteriors.py",
        "else divergence.sum(1)",
        "else divergence.mean(1)",
        _TESTS + "test_the_bound_sums_pixels_and_latents_alike",
    ),
    Mistake(
        "one layer overwritten by the next",
        _MLP,
        "hidden = layer(hidden)",
        "hidden = self.layers[0](hidden) if index == 0 else hidden.detach()[:, :1].expand(-1, layer.out_features)",
        _TESTS + "test_no_layer_is_overwritten_by_the_next",
    ),
    Mistake(
        "an activation forgotten",
        _MLP,
        "hidden = self.dropout(self.activation(hidden))",
        "hidden = self.dropout(self.activation(hidden) if index == 0 else hidden)",
        _TESTS + "test_no_activation_is_forgotten",
    ),
    Mistake(
        "unscaled pixels against tanh",
        _MLP,
        "return squash(out, self.config.output)",
        "return (255 * squash(out, self.config.output))",
        _TESTS + "test_pixels_and_tanh_share_a_range",
    ),
    Mistake(
        "last short batch against full-size labels",
        _GAN,
        "return Loss(loss.sum(), float(len(loss)),",
        "return Loss(loss.sum(), 6.0,",
        _TESTS + "test_a_short_last_batch_needs_no_full_size_labels",
    ),
]
