import html
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from loralab import api
from loralab.comparison import Comparison, compare
from loralab.experiment import Experiment
from loralab.plan import Results
from loralab.report import content, limits, numbers, print_answer, write_report
from loralab.report.answer import sentence
from loralab.report.charts import labels
from loralab.report.conditions import arms, facts
from loralab.report.rendering import _plain
from loralab.results import Failure, Measurement
from loralab.statistics.ratios import Ratio
from loralab.summary import Spread
from loralab.tasks.items import LabelScores
from loralab.tasks.metrics import CLASSIFICATION, Metric
from made_up import hits, made_up, template, untuned

ACCURACY = CLASSIFICATION[0]
LOG_LOSS = CLASSIFICATION[-1]
LOG_PERPLEXITY = Metric("log_perplexity", "Perplexity", "perplexity", higher_is_better=False, scale="log")


@pytest.fixture(scope="module")
def comparison(finished: Path) -> Comparison:
    return api.load(finished)


def results_of(comparison: Comparison) -> dict[str, Measurement | Failure]:
    final = [*comparison.measurements, *comparison.untouched.measurements.values()]
    return {result.trial.id: result for result in [*comparison.tuning, *final]}


def changed(results: Results, arm: str, **changes: Any) -> dict[str, Measurement | Failure]:
    """The results with other fields in the final measurements of `arm`."""
    return {
        name: result.model_copy(update=changes) if result.trial.arm == arm and result.trial.stage == "final" else result
        for name, result in results.items()
    }


def test_the_answer_states_each_arms_difference_and_cost(comparison: Comparison) -> None:
    told = sentence(comparison)
    assert told.startswith("Over 2 seeds and 60 test texts, full reached ")
    for arm in ("lora", "head-only"):
        assert f"; {arm} " in told
    assert "the training time and " in told


def test_of_many_arms_those_with_the_same_answer_are_told_together(finished: Path, toy_experiment: Experiment) -> None:
    lora = toy_experiment.arms["lora"]
    arms = toy_experiment.arms | dict.fromkeys(("wide", "narrow", "lost"), lora)
    many = untuned(toy_experiment.model_copy(update={"arms": arms}))
    shares = {"full": 0.9, "lora": 0.88, "wide": 0.87, "narrow": 0.91, "lost": 0.4, "head-only": 0.3}
    made = made_up(template(finished), many, lambda arm, seed: hits(shares[arm]))
    told = sentence(compare(many, made))
    assert "; each of lora and wide was worse by 2.0 to 3.0 points, equivalent within the margin of" in told
    assert "; narrow was better by 1.0 points (" in told
    assert "; each of head-only and lost was worse by 50.0 to 60.0 points, by more than the margin of" in told
    assert "; lora was worse by 2.0 points (" in sentence(compare(many, made), about="lora")


def test_differences_are_means_over_the_seeds_that_arms_share(comparison: Comparison) -> None:
    for metric in comparison.experiment.conditions.task.metrics:
        own, base = (comparison.arms[arm].scores[metric.name].mean for arm in ("lora", "full"))
        assert comparison.arms["lora"].differences[metric.name].value == pytest.approx(own - base, abs=1e-6)
        assert comparison.baseline.differences[metric.name].value == 0.0


def test_ratios_are_geometric_means_over_seeds(comparison: Comparison) -> None:
    lora, full = (comparison.arms[arm].costs["saved_bytes"].values for arm in ("lora", "full"))
    expected = ((lora[0] / full[0]) * (lora[1] / full[1])) ** 0.5
    assert comparison.arms["lora"].ratios["saved_bytes"].value == pytest.approx(expected)


def test_how_the_answer_is_meant_is_said(comparison: Comparison) -> None:
    lines = " ".join(limits.caveats(comparison))
    assert "Intervals are 95 %, not adjusted for the number of arms or looks" in lines
    assert "hold for the chosen learning rates" in lines


def test_what_limits_the_answer_is_said(comparison: Comparison, toy_experiment: Experiment) -> None:
    arms = dict(toy_experiment.arms)
    arms["full"] = arms["full"].model_copy(update={"learning_rates": arms["full"].learning_rates[:1]})
    untuned = toy_experiment.model_copy(update={"arms": arms})
    assert "full was not tuned" in " ".join(limits.caveats(compare(untuned, results_of(comparison))))
    single = toy_experiment.model_copy(update={"seeds": (0,)})
    lines = " ".join(limits.caveats(compare(single, results_of(comparison))))
    assert "With one seed" in lines
    assert "the margin of 20 points" in lines


def test_a_report_says_what_was_compared_and_where(comparison: Comparison, finished: Path) -> None:
    first = comparison.measurements[0]
    told = f"{Path(first.trial.conditions.model).name} on {Path(first.trial.conditions.task.data.source).name}"
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert f"<title>{told}: loralab</title>" in page
    assert f"<strong>{told}</strong>: 240 texts to train on, 60 to test on; " in page
    assert f"{told}: 240 texts" in (finished / "report.md").read_text(encoding="utf-8").replace("\\", "")
    assert f"{told}: 240 texts" in comparison._repr_html_()


def test_a_test_split_with_one_label_is_told(comparison: Comparison) -> None:
    def of_one_label(found: Measurement | Failure) -> Measurement | Failure:
        if isinstance(found, Failure) or not isinstance(found.items, LabelScores):
            return found
        items = found.items.model_copy(update={"labels": (1,) * len(found.items.labels)})
        return found.model_copy(update={"items": items})

    found = compare(comparison.experiment, {name: of_one_label(one) for name, one in comparison.results.items()})
    name = comparison.measurements[0].data.label_names[1]
    told = f"Every test text has the label {name}: scores don't say whether labels are told apart."
    assert told in limits.caveats(found)
    assert told not in limits.caveats(comparison)


def test_a_report_says_what_each_arm_is(comparison: Comparison, finished: Path) -> None:
    told = arms(comparison)
    rate = comparison.arms["lora"].choice
    assert rate is not None
    assert told["full"].startswith("full, learning rate ")
    assert told["lora"].startswith("lora, rank 4, alpha 8, targets attention, learning rate ")
    assert f"- **lora**: {told['lora']}" in (finished / "report.md").read_text(encoding="utf-8")


def test_seeds_that_another_machine_carried_out_are_told_apart(comparison: Comparison) -> None:
    def moved(found: Measurement | Failure) -> Measurement | Failure:
        if isinstance(found, Failure) or found.trial.seed == 0:
            return found
        there = found.environment.model_copy(update={"device_name": "a far faster one"})
        return found.model_copy(update={"environment": there})

    found = compare(comparison.experiment, {name: moved(one) for name, one in comparison.results.items()})
    told = facts(found)
    here = comparison.measurements[0].environment.device_name
    assert told["Machine"].startswith(f"{here}; ")
    assert "(seed 0); a far faster one; " in told["Machine"]
    assert told["Machine"].endswith("(seed 1)")
    assert told["Versions"] == facts(comparison)["Versions"]  # which are the same
    assert any(line.startswith("Seeds were carried out on 2 machines") for line in limits.caveats(found))
    assert not any("machines" in line for line in limits.caveats(comparison))


def test_a_failed_arm_stays_a_row(comparison: Comparison, toy_experiment: Experiment) -> None:
    results: dict[str, Measurement | Failure] = results_of(comparison)
    for name, result in list(results.items()):
        if result.trial.arm == "lora" and result.trial.stage == "final":
            results[name] = Failure(trial=result.trial, reason="out of memory", message="12 GB")
    failed = compare(toy_experiment, results)
    assert "lora has no measurement (out of memory)" in sentence(failed)
    row = next(row for row in content.answers(failed).rows if row[0] == "lora")
    assert row[1] == "out of memory"
    assert len(content.failures(failed).rows) == 2


def test_without_a_baseline_nothing_is_compared(toy_experiment: Experiment) -> None:
    assert sentence(compare(toy_experiment, {})).startswith("There is nothing to compare with")


def test_before_the_rates_are_tried_no_arm_has_failed_or_chosen(comparison: Comparison) -> None:
    first, second, *_ = comparison.tuning
    lost = Failure(trial=first.trial, reason="diverged", message="")
    begun = compare(comparison.experiment, {first.trial.id: lost, second.trial.id: second})
    assert "full, the baseline, has no finished trial yet" in sentence(begun)
    assert [row[3] for row in content.learning_rates(begun).rows] == ["", ""]
    assert [row[2] for row in content.learning_rates(begun).rows if row[0] == first.trial.arm][:1] == ["diverged"]
    assert begun.fairness.is_fair
    (left,) = limits.caveats(begun)
    assert left.startswith("Still to be carried out: at least ")


def test_an_arm_of_which_every_rate_failed_says_why_it_has_no_score(comparison: Comparison) -> None:
    tuning = {one.trial.id: one for one in comparison.tuning}
    lost = {
        name: Failure(trial=one.trial, reason="diverged", message="") if one.trial.arm == "full" else one
        for name, one in tuning.items()
    }
    assert "its trials failed (diverged)" in sentence(compare(comparison.experiment, lost))


def test_rates_that_were_given_are_not_said_to_be_chosen(comparison: Comparison) -> None:
    experiment = untuned(comparison.experiment)
    rates = {arm.name: arm.choice.rate for arm in comparison.arms.values() if arm.choice is not None}
    arms = {name: arm.model_copy(update={"learning_rates": (rates[name],)}) for name, arm in experiment.arms.items()}
    given = compare(experiment.model_copy(update={"arms": arms}), results_of(comparison))
    assert "chosen" in facts(comparison)["Seeds"]
    assert facts(given)["Seeds"] == "0, 1"
    assert any("the given learning rates" in line for line in limits.caveats(given))


@pytest.mark.parametrize(
    "text",
    ["[here](http://x)", "\\[here](http://x)", "a | b", "Foo.__init__()", "*all* `x` ~~y~~", "1 < 2 & 3", "$0-$50"],
)
def test_markdown_shows_a_text_as_it_stands(text: str) -> None:
    from markdown_it import MarkdownIt

    shown = MarkdownIt("gfm-like", {"linkify": False}).render(f"| a |\n| --- |\n| {_plain(text)} |\n")
    cell = re.search(r"<td>(.*?)</td>", shown)
    assert cell is not None
    assert html.unescape(cell[1]) == text


def test_text_from_the_data_is_escaped_in_the_page(comparison: Comparison, tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    names = (script, *comparison.measurements[0].data.label_names[1:])
    results = results_of(comparison)
    for arm in comparison.arms:
        facts = comparison.measurements[0].data.model_copy(update={"label_names": names})
        results = changed(results, arm, data=facts)
    page = write_report(compare(comparison.experiment, results), tmp_path, {}).read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert script not in page
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "&lt;script>" in markdown
    assert script not in markdown


def test_the_page_needs_nothing_from_elsewhere(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    assert "<script src" not in page
    told = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)  # what these ask for, a browser tells
    for reference in ('src="', "<link", "@import", "url(http"):
        assert reference not in told
    assert page.count('<div class="still"><svg') == 8


def test_the_page_and_the_markdown_have_every_section(finished: Path) -> None:
    page, markdown = ((finished / name).read_text(encoding="utf-8") for name in ("report.html", "report.md"))
    for title in ("Quality on test", "Cost", "Over the epochs", "Learning rates", "What was taken for what",
                  "How sure", "Fair, and whole?", "How to load the models", "Conditions"):  # fmt: skip
        assert f"<h2>{title}</h2>" in page
        assert f"## {title}" in markdown
    assert "Failures" not in page
    assert "AutoPeftModelForSequenceClassification.from_pretrained(" in page
    for chart in ("differences", "tradeoff", "quality", "memory", "time", "curves", "learning-rates", "confusion"):
        assert (finished / "charts" / f"{chart}.svg").is_file()
        assert f"(charts/{chart}.svg)" in markdown


@pytest.mark.parametrize(("roomy", "written"), [(6, {"0%", "100%"}), (5, {"", "100"})])
def test_cells_of_a_matrix_of_many_labels_leave_out_signs_and_noughts(
    comparison: Comparison, monkeypatch: pytest.MonkeyPatch, roomy: int, written: set[str]
) -> None:
    monkeypatch.setattr(labels, "ROOMY", roomy)
    monkeypatch.setattr(content, "confusions", lambda _: {"full": [[3 * (i == j) for j in range(6)] for i in range(6)]})
    drawn = labels.confusion(comparison)
    assert drawn is not None
    cells = next(iter(drawn.panels.values())).data.values
    assert {cell["told"] for cell in cells} == written


def test_of_too_many_labels_for_a_matrix_the_most_frequent_mistakes_are_listed(
    comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not content.mistakes(comparison).rows
    monkeypatch.setattr(content, "MOST_IN_MATRIX", 5)
    monkeypatch.setattr(content, "MISTAKES_LISTED", 3)
    listed = content.mistakes(comparison)
    assert listed.header == ["True label → taken for", "full", "lora", "head-only"]
    assert len(listed.rows) == 3
    names = comparison.measurements[0].data.label_names
    pair, *counts = listed.rows[0]
    true, taken = (names.index(name) for name in pair.split(" → "))
    matrices = content.confusions(comparison)
    assert counts == [f"{matrix[true][taken] / 2:.1f}" for matrix in matrices.values()]  # the mean of two seeds
    totals = [sum(map(float, row[1:])) for row in listed.rows]
    assert totals == sorted(totals, reverse=True)
    page = write_report(comparison, tmp_path, {}).read_text(encoding="utf-8")
    assert "(charts/confusion.svg)" not in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f'<th scope="row">{pair}</th>' in page


def test_writing_the_report_again_gives_the_same_files(finished: Path, tmp_path: Path) -> None:
    again = shutil.copytree(finished, tmp_path / "again")
    (again / "report.md").unlink()
    api.report(again)
    assert (again / "report.md").read_text(encoding="utf-8") == (finished / "report.md").read_text(encoding="utf-8")


def test_markdown_tables_have_as_many_cells_in_every_row(finished: Path) -> None:
    blocks = (finished / "report.md").read_text(encoding="utf-8").split("\n\n")
    tables = [block.strip().splitlines() for block in blocks if block.strip().startswith("|")]
    assert len(tables) == 11
    for table in tables:
        assert len({line.count("|") for line in table}) == 1
        assert len(table) > 2


def test_the_terminal_table_fits_80_columns(comparison: Comparison) -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    print_answer(comparison, console)
    text = console.export_text()
    answers, bill = (line for line in text.splitlines() if line.startswith("lora  "))
    assert "±" in answers
    assert numbers.MINUS in answers or "+" in answers
    assert "×" in bill


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (numbers.score(0.7014, ACCURACY), "70.1 %"),
        (numbers.score(0.7014, LOG_LOSS), "0.701"),
        (numbers.score_spread(Spread({0: 0.7, 1: 0.72}), ACCURACY), "71.0 ± 1.4 %"),
        (numbers.score_spread(None, ACCURACY), "—"),
        (numbers.score(5.0, LOG_PERPLEXITY), "148.4"),
        (numbers.score(1000.0, LOG_PERPLEXITY), "∞"),  # a loss that exploded
        (numbers.difference(1000.0, LOG_PERPLEXITY), "+∞ %"),
        (numbers.difference(-0.0691, ACCURACY), "−6.9"),
        (numbers.differences(-0.06, (-0.07, 0.05), ACCURACY), "−6.0 (−7.0 to +5.0)"),
        (numbers.amount(-0.06, ACCURACY), "6.0 points"),
        (numbers.amount(0.06, LOG_LOSS), "0.060"),
        (numbers.ratio(Ratio(0.78, (0.75, 0.81))), "0.78× (0.75 to 0.81)"),
        (numbers.ratio(Ratio(0.78, None)), "0.78×"),
        (numbers.ratio(Ratio(0.0033, (0.0033, 0.0033))), "0.33 %"),
        (numbers.probability(0.0312), "0.031"),
        (numbers.probability(0.0001), "< 0.001"),
        (numbers.duration(0.0042), "4.2 ms"),
        (numbers.duration(0.0994), "99 ms"),
        (numbers.duration(0.00996), "10 ms"),
        (numbers.duration(0.112), "112 ms"),
        (numbers.duration(0.9994), "999 ms"),
        (numbers.duration(0.9996), "1.0 s"),
        (numbers.duration(8.44), "8.4 s"),
        (numbers.duration(109), "1.8 min"),
        (numbers.duration(754), "13 min"),
        (numbers.duration(3 * 3600 + 300), "3 h 05 min"),
        (numbers.size(294_912), "295 kB"),
        (numbers.size(90_900_000), "90.9 MB"),
        (numbers.size(999.6), "1 kB"),
        (numbers.count(739_586), "740 k"),
        (numbers.count(12), "12"),
        (numbers.multiple(0.667), "0.67×"),
        (numbers.multiple(0.0033), "0.33 %"),
        (numbers.multiple(None), "—"),
        (numbers.rate(3e-4), "3e-4"),
        (numbers.rate(0.0333), "3.33e-2"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_texts_that_train_and_test_share_are_told_and_left_out_rows_counted(comparison: Comparison) -> None:
    known = comparison.measurements[0].data
    told = {}
    for shared in (0, 7):
        data = known.model_copy(update={"shared": shared, "dropped": 2, "without_text": {"train": 1234}})
        told[shared] = compare(comparison.experiment, changed(results_of(comparison), "full", data=data))
    assert "7 of train and 0 of validation also stand in test; 2 were dropped" in facts(told[7])["Texts shared"]
    assert facts(told[7])["Empty rows"] == "1,234 of train"
    assert "Rows without a label" not in facts(told[7])
    unlabelled = known.model_copy(update={"without_label": {"train": 1785, "test": 176}})
    told_too = compare(comparison.experiment, changed(results_of(comparison), "full", data=unlabelled))
    assert facts(told_too)["Rows without a label"] == "1,785 of train, 176 of test, left out"
    assert any("drop_shared: true" in line for line in limits.caveats(told[7]))
    assert not any("drop_shared" in line for line in limits.caveats(told[0]))
    chosen_on = compare(
        comparison.experiment,
        changed(results_of(comparison), "full", data=known.model_copy(update={"shared_validation": 3})),
    )
    assert any("that learning rates are chosen on also stand in test" in line for line in limits.caveats(chosen_on))
