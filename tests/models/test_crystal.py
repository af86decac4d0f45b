from dataclasses import replace

import pytest

from latticewatch_models.crystal import CRYSTALS, column_intensity, crystal_named
from latticewatch_models.specimen import HOST, kinds_of


def test_a_higher_power_of_z_darkens_the_lighter_column():
    steep = replace(CRYSTALS["MoS2"], exponent=2.0)
    assert steep.host_intensity(1) == pytest.approx(2 * (16 / 42) ** 2)
    assert steep.host_intensity(0) == 1.0


def test_mo_on_a_w_site_is_as_bright_as_z_contrast_says():
    ws2 = crystal_named("WS2")
    mo = next(r for r in ws2.readings if r.species == "MoW")
    assert ws2.reading_intensity(mo) == pytest.approx((42 / 74) ** 1.7)


def test_a_sulphur_vacancy_halves_its_column():
    ws2 = crystal_named("WS2")
    vacancy = next(r for r in ws2.readings if r.species == "VS")
    assert ws2.reading_intensity(vacancy) == pytest.approx(ws2.host_intensity(1) / 2)
    assert column_intensity((16, 16)) == pytest.approx(2 * 16**1.7)


def test_states_list_the_lone_dopant_and_three_directions():
    assert crystal_named("WS2").states == ("MoW", "MoW+VS/0", "MoW+VS/1", "MoW+VS/2")
    assert crystal_named("graphene").states == ()


def test_an_unknown_crystal_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="WS2, MoS2"):
        crystal_named("NaCl")


@pytest.mark.parametrize("name", CRYSTALS)
def test_every_reading_differs_from_the_host_and_is_sorted_once(name):
    crystal = crystal_named(name)
    kinds = kinds_of(crystal)
    sorted_kinds = [*kinds.dopants.values(), *kinds.adatoms.values(), *kinds.vacancies.values()]
    assert sorted(sorted_kinds) == list(range(1, len(crystal.readings) + 1))
    for kind, reading in enumerate(crystal.readings, start=1):
        assert kinds.weight[kind, reading.sublattice] != kinds.weight[HOST, reading.sublattice]


def test_losing_atoms_leads_from_host_to_one_and_two_vacancies():
    kinds = kinds_of(crystal_named("WS2"))
    single = kinds.loss[HOST, 1]
    assert kinds.species[single] == "VS"
    assert kinds.species[kinds.loss[single, 1]] == "VS2"
    assert kinds.species[kinds.loss[HOST, 0]] == "VW"
    assert kinds.loss[kinds.loss[HOST, 0], 0] == -1


def test_a_crystal_without_a_species_keeps_the_others():
    ws2 = crystal_named("WS2")
    less = ws2.without(["VW", "VMo"])
    assert [r for r in ws2.readings if r.species != "VW"] == list(less.readings)
    assert (less.dopant, less.vacancy) == ("MoW", "VS")
    assert kinds_of(less).loss[HOST, 0] == -1
    assert ws2.without(["VMo"]) == ws2


def test_a_dopant_without_its_vacancy_has_no_states():
    less = crystal_named("WS2").without(["VS"])
    assert less.states == ()
    assert kinds_of(less).mobile == -1
    assert "MoW" in kinds_of(less).species
