"""What the benchmark of quality makes of its runs."""

from benchmarks.quality import (
    SETTINGS,
    Setting,
    best_setting,
    extent,
    landing,
    mean_and_spread,
    passed_after,
    settings_for,
    table,
)
from rich.console import Console

METRICS = [
    {"elapsed_seconds": 2.0, "learning_rate": 0.001, "eval_loss": 2.5},
    {"elapsed_seconds": 5.0, "learning_rate": 0.01, "eval_loss": None},
    {"elapsed_seconds": 8.0, "learning_rate": 0.005, "eval_loss": 1.8},
    {"elapsed_seconds": 10.1, "learning_rate": 0.0002, "eval_loss": 1.6},
]


def test_a_budget_takes_the_settings_of_the_nearest():
    assert settings_for(70, bf16=True, every=True) == SETTINGS[60]
    assert settings_for(1, bf16=True, every=False) == SETTINGS[10][:1]
    assert all(settings_for(budget, bf16=False, every=False) for budget in SETTINGS)
    assert not any(setting.bf16 for setting in settings_for(600, bf16=False, every=True))


def test_a_setting_as_arguments():
    arguments = ["--hidden=256", "--batch=16", "--rate=0.01", "--dropout=0.0"]
    assert Setting(256, 16, 1e-2).arguments() == arguments
    assert Setting(256, 16, 1e-2, bf16=True).arguments() == [*arguments, "--bf16"]


def test_a_run_lands_at_a_time_and_a_rate():
    assert landing(METRICS) == (10.1, 0.02)


def test_the_time_to_pass_a_loss_is_that_of_the_first_validation_below_it():
    assert passed_after(METRICS, 1.8) == 8.0
    assert passed_after(METRICS, 1.5) is None


def test_seeds_are_summed_up():
    assert mean_and_spread([1.5]) == "1.500"
    assert mean_and_spread([1.4, 1.5, 1.6]) == "1.500 ± 0.100"
    assert extent([0.97, 1.0, 1.031]) == "97-103 %"
    assert extent([0.98, 0.981]) == "98 %"
    assert extent([]) == ""


def run(who: str, seed: int, loss: float, **others: object) -> dict[str, object]:
    figures = {"budget": 600.0, "who": who, "seed": seed, "loss": loss, "model": "lstm 1 x 512 bf16"}
    return {**figures, "seconds": 600.0 + seed, "epochs": 13.25, "chars_per_second": 123456.0, **others}


def test_the_best_setting_is_that_of_the_lowest_mean():
    runs = [
        run("plain", seed, loss, setting={"hidden": hidden})
        for hidden, losses in ((256, (1.4, 1.9)), (384, (1.5, 1.6)))
        for seed, loss in enumerate(losses)
    ]
    assert best_setting(runs) == runs[2:]


def test_the_table_fits_80_columns():
    runs = [run("charrnn", seed, 1.4 + seed / 50, last_rate=seed / 50) for seed in (1, 2, 3)]
    runs += [run("plain", seed, 1.5, setting={}) for seed in (1, 2, 3)]
    gpt = {"seconds": 99.0, "model": "gpt 4 x 128", "loss": 1.874, "epochs": 1.53, "chars_per_second": 15000.0}
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table(runs, gpt))
    assert [" ".join(line.split()) for line in capture.get().splitlines()[2:]] == [
        "600 s charrnn lstm 1 x 512 bf16 1.440 ± 0.020 13.25 123,456 100 % 2-6 %",
        "600 s plain lstm 1 x 512 bf16 1.500 ± 0.000 13.25 123,456 100 %",
        "99 s plain gpt 4 x 128 1.874 1.53 15,000",
    ]
