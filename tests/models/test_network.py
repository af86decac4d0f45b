import pytest

torch = pytest.importorskip("torch")

from latticewatch_models.designs import DESIGNS  # noqa: E402
from latticewatch_models.network import (  # noqa: E402
    COLUMN_LOGIT,
    PRIOR_LOGIT,
    DefectNetwork,
    NetworkSettings,
    count_parameters,
)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (48, 112), (16, 32), (52, 116), (40, 24)])
def test_outputs_lie_on_the_grid_of_the_design(design, rows, columns):
    for kinds in (1, 2):
        settings = NetworkSettings(16, 16, design, columns=kinds == 2)
        network = DefectNetwork(settings).eval()
        logits, offsets = network(torch.zeros(2, 1, rows, columns))
        grid = (rows // network.stride, columns // network.stride)
        assert logits.shape == (2, kinds, *grid)
        assert offsets.shape == (2, 2 * kinds, *grid)


def test_a_design_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="'octave' is not known: use one of quarter"):
        NetworkSettings(design="octave")


def test_an_untrained_network_holds_defects_for_rare_and_columns_for_likely():
    torch.manual_seed(0)
    logits, _ = DefectNetwork().eval()(torch.randn(1, 1, 128, 128))
    assert logits[:, 0].mean().item() == pytest.approx(PRIOR_LOGIT, abs=1.0)
    assert logits[:, 1].mean().item() == pytest.approx(COLUMN_LOGIT, abs=1.0)


@pytest.mark.parametrize("design", DESIGNS)
def test_a_shift_by_the_total_stride_shifts_the_outputs(design):
    torch.manual_seed(1)
    network = DefectNetwork(NetworkSettings(16, 16, design)).eval()
    frame = torch.zeros(1, 1, 320, 320)
    frame[..., 150:170, 150:170] = torch.randn(20, 20)
    logits, offsets = network(frame)
    moved, moved_offsets = network(torch.roll(frame, network.total_stride, -1))
    cells = network.total_stride // network.stride
    within = slice(128 // network.stride, 192 // network.stride)
    inner = (slice(None), slice(None), within, within)
    torch.testing.assert_close(torch.roll(logits, cells, -1)[inner], moved[inner])
    torch.testing.assert_close(torch.roll(offsets, cells, -1)[inner], moved_offsets[inner])


def test_the_default_network_fits_the_file_it_ships_in():
    assert count_parameters(DefectNetwork()) * 4 < 2_000_000


@pytest.mark.parametrize("design", DESIGNS)
def test_every_part_of_the_network_learns(design):
    torch.manual_seed(2)
    network = DefectNetwork(NetworkSettings(16, 16, design))
    logits, offsets = network(torch.randn(2, 1, 64, 64))
    (logits.square().sum() + offsets.square().sum()).backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    assert not idle
