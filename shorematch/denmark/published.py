"""What Kim, Lee and Pozzoli publish about Denmark (EEA 2025 slides): inputs, estimates, tables.

Money is in kroner per hour. Keys of statistics and scenarios are those of this project.
"""

# "Calibrated Parameters": outside options and the aggregates that the estimation meets.
AGGREGATES: dict[int, dict[str, float]] = {
    1996: {
        "outside_option": 40.538,
        "outside_option_foreign": 17.945,
        "mean_wage_foreign": 28.672,
        "wage_share": 0.5371,
        "unemployment_rate": 0.0633,
        "mass_foreign": 0.6325,
        "offshoring_rate": 0.0005,
    },
    2006: {
        "outside_option": 45.276,
        "outside_option_foreign": 25.825,
        "mean_wage_foreign": 56.513,
        "wage_share": 0.6786,
        "unemployment_rate": 0.0391,
        "mass_foreign": 0.6325,
        "offshoring_rate": 0.0155,
    },
}

# "Estimation Results", point estimates and intervals.
ESTIMATES: dict[int, dict[str, float]] = {
    1996: {"affinity": 75.38, "lambda": 108.78, "constant": 240.66, "constant_foreign": 138.73,
           "nu_x": -1.32, "nu_y": -1.73, "nu_x_foreign": -9.56, "nu_y_foreign": -9.22},
    2006: {"affinity": 75.55, "lambda": 37.56, "constant": 207.90, "constant_foreign": 119.94,
           "nu_x": -4.51, "nu_y": -2.79, "nu_x_foreign": -7.57, "nu_y_foreign": -6.99},
}  # fmt: skip
INTERVALS_2006: dict[str, tuple[float, float]] = {
    "nu_x": (-5.15, -3.98),
    "nu_y": (-3.23, -2.43),
    "nu_x_foreign": (-7.78, -7.37),
    "nu_y_foreign": (-7.44, -6.59),
}

# "Counterfactuals: Wage Inequality", 2006. An arrow on an intensity is +1, on Φ a doubling.
COUNTERFACTUALS_2006: dict[str, dict[str, float]] = {
    "baseline": {"mean_wage_home": 147.42, "sd_wage_home": 4.63,
                 "wage_spread_by_firm": 1.33, "wage_spread_by_skill": 15.73},
    "c_F = 0": {"mean_wage_home": 130.81, "sd_wage_home": 4.47,
                "wage_spread_by_firm": 1.01, "wage_spread_by_skill": 15.03},
    "Φ × 2": {"mean_wage_home": 151.72, "sd_wage_home": 9.58,
              "wage_spread_by_firm": 5.95, "wage_spread_by_skill": 32.51},
    "ν_x + 1": {"mean_wage_home": 139.18, "sd_wage_home": 4.67,
                "wage_spread_by_firm": 1.11, "wage_spread_by_skill": 15.90},
    "ν_y + 1": {"mean_wage_home": 157.96, "sd_wage_home": 4.67,
                "wage_spread_by_firm": 1.11, "wage_spread_by_skill": 15.90},
    "ν_x* + 1": {"mean_wage_home": 145.46, "sd_wage_home": 4.61,
                 "wage_spread_by_firm": 1.27, "wage_spread_by_skill": 15.66},
    "ν_y* + 1": {"mean_wage_home": 145.46, "sd_wage_home": 4.61,
                 "wage_spread_by_firm": 1.27, "wage_spread_by_skill": 15.66},
}  # fmt: skip
