"""Random streams of the loan book: what an address gives."""

from __future__ import annotations

from scipy.special import ndtri

from acceleray.numerics.credit import default_generator, draw_systematic


class TestStreams:
    def test_an_address_gives_the_same_bits_every_time(self):
        assert (
            draw_systematic(1, block=2, n_factors=2, n_paths=10)
            == draw_systematic(1, block=2, n_factors=2, n_paths=10)
        ).all()
        first, second = (default_generator(1, block=2, segment="retail").random(10) for _ in range(2))
        assert (first == second).all()

    def test_addresses_do_not_share_streams(self):
        streams = [
            draw_systematic(seed, block=block, n_factors=1, n_paths=5)[0]
            for seed in (1, 2)
            for block in (0, 1)
        ]
        streams += [
            ndtri(default_generator(seed, block=block, segment=name).random(5))
            for seed in (1, 2)
            for block in (0, 1)
            for name in ("a", "b", "")
        ]
        assert len({tuple(stream) for stream in streams}) == len(streams)

    def test_a_shorter_block_is_the_beginning_of_a_longer_one(self):
        long = draw_systematic(1, block=0, n_factors=3, n_paths=20)
        assert (long[:, :7] == draw_systematic(1, block=0, n_factors=3, n_paths=7)).all()
