import pytest

torch = pytest.importorskip("torch")

from latticewatch_models.network import (  # noqa: E402
    PRIOR_LOGIT,
    STRIDE,
    TOTAL_STRIDE,
    DefectNetwork,
    NetworkSettings,
    count_parameters,
)


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (48, 112), (16, 32), (52, 116), (40, 24)])
def test_outputs_lie_on_a_grid_of_a_quarter(rows, columns):
    network = DefectNetwork(NetworkSettings(16, 16)).eval()
    logits, offsets = network(torch.zeros(2, 1, rows, columns))
    assert logits.shape == (2, 1, rows // STRIDE, columns // STRIDE)
    assert offsets.shape == (2, 2, rows // STRIDE, columns // STRIDE)


def test_an_untrained_network_holds_defects_for_rare():
    torch.manual_seed(0)
    logits, _ = DefectNetwork().eval()(torch.randn(1, 1, 128, 128))
    assert logits.mean().item() == pytest.approx(PRIOR_LOGIT, abs=1.0)


def test_a_shift_by_the_total_stride_shifts_the_outputs():
    torch.manual_seed(1)
    network = DefectNetwork(NetworkSettings(16, 16)).eval()
    frame = torch.zeros(1, 1, 320, 320)
    frame[..., 150:170, 150:170] = torch.randn(20, 20)
    logits, offsets = network(frame)
    moved, moved_offsets = network(torch.roll(frame, TOTAL_STRIDE, -1))
    cells = TOTAL_STRIDE // STRIDE
    inner = (slice(None), slice(None), slice(32, 48), slice(32, 48))
    torch.testing.assert_close(torch.roll(logits, cells, -1)[inner], moved[inner])
    torch.testing.assert_close(torch.roll(offsets, cells, -1)[inner], moved_offsets[inner])


def test_the_default_network_fits_the_file_it_ships_in():
    assert count_parameters(DefectNetwork()) * 4 < 2_000_000


def test_every_part_of_the_network_learns():
    torch.manual_seed(2)
    network = DefectNetwork(NetworkSettings(16, 16))
    logits, offsets = network(torch.randn(2, 1, 64, 64))
    (logits.square().sum() + offsets.square().sum()).backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not idle
