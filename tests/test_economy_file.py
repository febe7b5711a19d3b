"""Economy files: what is written is read back, and what is read is what the file says."""

import hashlib

import jax
import numpy as np
import pytest

from matching import InvalidInput, make_economy, make_firms, make_origin
from shorematch.files.economy_file import read_economy, write_economy
from tests.danish import FILES, edited, write_danish
from tests.economies import random_economy, random_shapes


def assert_same(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("seed", "shape"), list(enumerate(random_shapes(12, seed=5))))
def test_a_written_economy_is_read_back_bit_for_bit(tmp_path, seed, shape):
    economy = random_economy(seed, shape)
    assert_same(read_economy(write_economy(economy, tmp_path)).economy, economy)


def test_names_with_commas_quotes_dots_and_other_scripts_survive(tmp_path):
    economy = make_economy(
        [
            make_origin([[1.0, 2.0]], [0.1], constant=1e-300, name='low "wage", 50 %'),
            make_origin([[1e300, 4.0]], [1e200], constant=-0.0, name="../中国.csv"),
        ],
        make_firms([5.0], [1.0 / 3.0]),
        affinity=[[1.0], [2.0]],
        lambda_x=0.1,
        lambda_y=0.2,
        skill_names=["years, of school", 'so-called "brawn"'],
        characteristic_names=["λ/λ"],
    )
    loaded = read_economy(write_economy(economy, tmp_path, name="my economy"))
    assert_same(loaded.economy, economy)
    assert {path.name for path in tmp_path.iterdir()} == set(loaded.files)


@pytest.mark.parametrize("name", ["mass", "origin", " padded", ""])
def test_a_skill_that_could_not_be_read_back_is_not_written(tmp_path, name):
    economy = make_economy(
        [make_origin([1.0], [1.0], constant=1.0)], make_firms([1.0], [1.0]),
        affinity=1.0, lambda_x=1.0, lambda_y=1.0, skill_names=[name or " "],
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="cannot head a column"):
        write_economy(economy, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_file_of_the_contract_means_the_economy_built_by_hand(tmp_path):
    by_hand = make_economy(
        [
            make_origin([0.1, 0.4, 0.6, 0.9], [0.25] * 4, constant=207.90, outside_option=45.276,
                        nu_x=-4.51, nu_y=-2.79, name="denmark"),
            make_origin([0.2, 0.7], [0.4, 0.2325], constant=119.94, outside_option=25.825,
                        nu_x=-7.57, nu_y=-6.99, name="china"),
        ],
        make_firms([0.05, 0.2, 0.45], [0.4, 0.3, 0.3155]),
        affinity=[[75.55]], lambda_x=18.78, lambda_y=18.78,
        skill_names=["skill"], characteristic_names=["productivity"],
    )  # fmt: skip
    loaded = read_economy(write_danish(tmp_path))
    assert_same(loaded.economy, by_hand)
    assert loaded.name == "economy"
    for name, content in FILES.items():
        assert loaded.files[name] == hashlib.sha256(content.encode()).hexdigest()


def test_a_column_named_as_outside_option_is_no_characteristic(tmp_path):
    path = write_danish(
        tmp_path,
        economy=edited("economy.toml", "outside_option = 45.276", 'outside_option = "dole"'),
        workers="dole,mass,skill\n40,0.25,0.1\n41,0.25,0.4\n42,0.25,0.6\n43,0.25,0.9\n",
    )
    home = read_economy(path).economy.home
    np.testing.assert_array_equal(home.outside_option, [40.0, 41.0, 42.0, 43.0])
    assert home.skills.shape == (4, 1)


def test_skills_are_matched_across_origins_by_name_not_by_place(tmp_path):
    path = write_danish(
        tmp_path,
        economy=edited("economy.toml", "[[75.55]]", "[[1.0], [2.0]]"),
        workers="mass,brain,brawn\n1,10,20\n",
        foreign="brawn,mass,brain\n200,1,100\n",
    )
    economy = read_economy(path).economy
    assert economy.skill_names == ("brain", "brawn")
    np.testing.assert_array_equal(economy.origins[1].skills, [[100.0, 200.0]])


def test_excel_s_byte_order_mark_and_line_ends_change_nothing(tmp_path):
    plain = read_economy(write_danish(tmp_path)).economy
    windows = {
        name.split(".")[0]: b"\xef\xbb\xbf" + content.replace("\n", "\r\n").encode()
        for name, content in FILES.items()
    }
    assert_same(read_economy(write_danish(tmp_path, **windows)).economy, plain)


def test_types_of_zero_mass_are_allowed(tmp_path):
    path = write_danish(tmp_path, foreign="mass,skill\n0,0.2\n0.2325,0.7\n")
    np.testing.assert_array_equal(read_economy(path).economy.origins[1].mass, [0.0, 0.2325])
