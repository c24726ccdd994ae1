"""`loralab init` guesses columns, labels and lengths, says so, and writes a file that runs."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from conftest import WORDS, sentences, write_jsonl
from loralab import api, drafting
from loralab.cli import app
from loralab.errors import UserError
from loralab.files import read_experiment
from loralab.pretrained import load_tokenizer
from loralab.tasks import CausalLM, Classification

RUNNER = CliRunner()


def drafted(data: Path, model: Path, to: Path, *more: str) -> Any:
    shown = RUNNER.invoke(app, ["init", "--data", str(data), "--model", str(model), "--to", str(to), *more])
    assert shown.exit_code == 0, shown.output
    return read_experiment(to), shown.output


def rows(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"number": place, "review": row["text"], "stars": row["label"]}
        for place, row in enumerate(sentences(list(WORDS)[:3], count, seed=1))
    ]


def test_the_usual_columns_need_no_guess(toy_data: Path, toy_model: Path, tmp_path: Path) -> None:
    experiment, told = drafted(toy_data, toy_model, tmp_path / "mine.yaml")
    task = experiment.conditions.task
    assert isinstance(task, Classification)
    assert (task.data.text, task.data.label) == ("text", "label")
    assert set(experiment.arms) == {"full", "lora-r8", "head-only"}
    assert "the text is in 'text', the label in 'label' (6 in 240 rows looked at" in told
    assert "loralab plan" in told
    assert 16 <= task.max_length <= 32
    api.check(experiment)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_other_columns_are_found_by_what_they_hold(form: str, toy_model: Path, tmp_path: Path) -> None:
    file = tmp_path / f"reviews.{form}"
    if form == "jsonl":
        write_jsonl(file, rows())
    elif form == "csv":
        with file.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, ["number", "review", "stars"])
            writer.writeheader()
            writer.writerows(rows())
    else:
        import pandas as pd

        pd.DataFrame(rows()).to_parquet(file)
    experiment, told = drafted(file, toy_model, tmp_path / "mine.yaml")
    assert (experiment.conditions.task.data.text, experiment.conditions.task.data.label) == ("review", "stars")
    assert "the label in 'stars' (3 in 60 rows looked at" in told
    api.check(experiment)


def test_a_text_may_be_missing(toy_model: Path, tmp_path: Path) -> None:
    found: list[dict[str, Any]] = rows()
    found[0] = {"number": 0, "stars": found[0]["stars"]}
    found[40]["review"] = None
    write_jsonl(tmp_path / "gaps.jsonl", found)
    experiment, _ = drafted(tmp_path / "gaps.jsonl", toy_model, tmp_path / "mine.yaml")
    assert experiment.conditions.task.data.text == "review"


def test_rows_without_a_label_are_told_and_left_out(toy_model: Path, tmp_path: Path) -> None:
    found: list[dict[str, Any]] = [{"text": row["review"], "label": row["stars"]} for row in rows()]
    found[7]["label"] = found[40]["label"] = None
    write_jsonl(tmp_path / "gaps.jsonl", found)
    experiment, told = drafted(tmp_path / "gaps.jsonl", toy_model, tmp_path / "mine.yaml")
    assert "2 of the 60 rows of train have no label; they are left out" in told
    assert "the label in 'label' (3 in 58 rows looked at" in told
    assert experiment.conditions.task.data.drop_unlabelled
    api.check(experiment)


@pytest.mark.parametrize(
    ("ending", "of_test"), [("", ""), ("_matched", "_matched"), ("", "_hidden")], ids=["GLUE", "MNLI", "another test"]
)
def test_a_test_split_that_hides_its_labels_is_left_alone(
    ending: str, of_test: str, toy_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GLUE's are, whose numbers have names; so are some rows of SNLI's train."""
    from datasets import ClassLabel, Dataset, DatasetDict, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
    labels: dict[str, Callable[[int], int]] = {
        "train": lambda place: -1 if place < 3 else place % 2,
        f"validation{ending}": lambda place: place % 2,
        f"test{of_test}": lambda _: -1,
    }
    if ending:
        labels["validation_mismatched"] = lambda place: place % 2
    made = {
        split: Dataset.from_list(
            [{"text": f"{text['review']} {split}", "label": label(place)} for place, text in enumerate(rows())],
            features=features,
        )
        for split, label in labels.items()
    }
    DatasetDict(made).save_to_disk(tmp_path / "hidden")
    experiment, told = drafted(tmp_path / "hidden", toy_model, tmp_path / "mine.yaml")
    assert "test has no labels; the file tests on validation" in told
    assert "3 of the 60 rows of train have no label; they are left out" in told
    assert experiment.conditions.task.data.splits.test == f"validation{ending}"
    data = api.check(experiment)
    assert len(data.test) == 60
    assert len(data.train) + len(data.validation) == 57
    monkeypatch.setitem(drafting.MOST_ROWS, "test", 40)  # what is tested on is limited, whatever split it is
    experiment, told = drafted(tmp_path / "hidden", toy_model, tmp_path / "fewer.yaml")
    assert "validation has 60 rows; the file begins with 40 of them" in told
    assert len(api.check(experiment).test) == 40


def test_splits_by_other_names_are_named_and_told(toy_model: Path, tmp_path: Path) -> None:
    for split in ("train", "Testing"):
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows())
    experiment, told = drafted(tmp_path / "data", toy_model, tmp_path / "mine.yaml")
    assert "'Testing' is meant for test, by its name" in told
    assert experiment.conditions.task.data.splits.test == "Testing"
    assert len(api.check(experiment).test) == 60


def test_the_sample_holds_every_label_however_rare(toy_model: Path, tmp_path: Path) -> None:
    found = [{"text": f"{row['review']} {place}", "label": row["stars"]} for place, row in enumerate(rows(9000))]
    found += [{"text": f"a rare one, {place}", "label": "rare"} for place in range(2)]
    write_jsonl(tmp_path / "train.jsonl", found)
    write_jsonl(tmp_path / "test.jsonl", [*found[:60], found[-1]])
    experiment, told = drafted(tmp_path, toy_model, tmp_path / "mine.yaml")
    assert 2000 < experiment.conditions.task.data.rows.train < 2500
    assert "train has 9,002 rows; the file begins with 2,2" in told
    assert "rare" in api.check(experiment).label_names


def test_a_configuration_is_a_folder_inside_the_data(toy_data: Path, toy_model: Path, tmp_path: Path) -> None:
    (tmp_path / "several").mkdir()
    (tmp_path / "several" / "intents").symlink_to(toy_data)
    experiment, _ = drafted(tmp_path / "several", toy_model, tmp_path / "mine.yaml", "--configuration", "intents")
    assert experiment.conditions.task.data.configuration == "intents"
    api.check(experiment)


def test_data_that_are_sorted_by_label_show_all_labels(toy_model: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "sorted.jsonl", sorted(rows(2400), key=lambda row: str(row["stars"])))
    experiment, told = drafted(tmp_path / "sorted.jsonl", toy_model, tmp_path / "mine.yaml")
    assert experiment.conditions.task.data.label == "stars"
    assert "the label in 'stars' (3 in 1,000 rows looked at" in told


def test_pairs_are_found(toy_model: Path, tmp_path: Path) -> None:
    pairs = [{"premise": row["review"], "hypothesis": row["review"], "label": row["stars"]} for row in rows()]
    write_jsonl(tmp_path / "pairs.jsonl", pairs)
    experiment, _ = drafted(tmp_path / "pairs.jsonl", toy_model, tmp_path / "mine.yaml")
    assert experiment.conditions.task.data.text == ("premise", "hypothesis")


def test_without_a_label_a_language_model_learns(toy_gpt2: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "texts.jsonl", [{"text": row["review"]} for row in rows()])
    experiment, told = drafted(tmp_path / "texts.jsonl", toy_gpt2, tmp_path / "mine.yaml")
    assert isinstance(experiment.conditions.task, CausalLM)
    assert "nothing looks like a label" in told
    assert experiment.conditions.task.block_size <= load_tokenizer(str(toy_gpt2)).model_max_length
    api.inspect(experiment)


def test_of_many_rows_the_file_begins_with_some_and_says_so(toy_model: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "many.jsonl", rows(3200))
    experiment, told = drafted(tmp_path / "many.jsonl", toy_model, tmp_path / "mine.yaml")
    assert experiment.conditions.task.data.rows.train == 2000
    assert "train has 3,200 rows; the file begins with 2,000 of them" in told


@pytest.mark.parametrize("count", [2001, 2400, 2999, 3200])
@pytest.mark.parametrize("splits", [("train",), ("train", "test"), ("train", "validation")])
def test_a_drafted_file_asks_for_no_more_rows_than_there_are_left(
    count: int, splits: tuple[str, ...], toy_model: Path, tmp_path: Path
) -> None:
    for split in splits:
        made = [{**row, "review": f"{row['review']} {split} {place}"} for place, row in enumerate(rows(count))]
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", made)
    experiment, _ = drafted(tmp_path / "data", toy_model, tmp_path / "mine.yaml")
    assert len(api.check(experiment).train) >= 1200


def test_rows_without_text_are_not_asked_for(toy_model: Path, tmp_path: Path) -> None:
    """They are left out in reading, so that 2,003 rows may not be 2,000."""
    without = [{**row, "review": ""} for row in rows(5)]
    for split, made in {"train": [*rows(1998), *without], "validation": rows(), "test": rows()}.items():
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", made)
    experiment, _ = drafted(tmp_path / "data", toy_model, tmp_path / "mine.yaml")
    assert len(api.check(experiment).train) == 1998


def test_scores_instead_of_labels_are_told_with_the_reason(toy_model: Path, tmp_path: Path) -> None:
    scored = [{"text": row["review"], "label": place / 7} for place, row in enumerate(rows())]
    write_jsonl(tmp_path / "scored.jsonl", scored)
    _, told = drafted(tmp_path / "scored.jsonl", toy_model, tmp_path / "mine.yaml")
    assert "It can't be carried out as it stands: " in told
    assert "that is regression" in told
    assert "Change it, then: loralab plan" in told


def test_scores_in_a_file_of_words_are_told_too(toy_model: Path, tmp_path: Path) -> None:
    """As CSV has them."""
    scored = [{"text": row["review"], "label": f"{place / 7:.3f}"} for place, row in enumerate(rows(120))]
    write_jsonl(tmp_path / "scored.jsonl", scored)
    _, told = drafted(tmp_path / "scored.jsonl", toy_model, tmp_path / "mine.yaml")
    assert "that is regression" in told


def test_an_encoder_that_would_have_to_be_a_language_model_is_told(toy_model: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "texts.jsonl", [{"text": row["review"]} for row in rows()])
    _, told = drafted(tmp_path / "texts.jsonl", toy_model, tmp_path / "mine.yaml")
    assert "It can't be carried out as it stands: model: its tokenizer has no end-of-text token" in told


def test_a_text_in_another_language_is_no_label(toy_gpt2: Path, tmp_path: Path) -> None:
    pairs = [{"text": row["review"], "target": f"{row['review']} {place}"} for place, row in enumerate(rows(200))]
    write_jsonl(tmp_path / "pairs.jsonl", [*pairs, {"text": "nobody translated it", "target": None}])
    experiment, told = drafted(tmp_path / "pairs.jsonl", toy_gpt2, tmp_path / "mine.yaml")
    assert isinstance(experiment.conditions.task, CausalLM)
    assert "nothing looks like a label" in told
    assert "'target' is called as labels are, but its values hardly come again" in told


def test_names_for_numbers_can_be_given_in_the_file(toy_model: Path, tmp_path: Path) -> None:
    names = list(WORDS)[:3]
    numbered = [{"text": row["review"], "label": names.index(row["stars"])} for row in rows()]
    write_jsonl(tmp_path / "numbered.jsonl", numbered)
    _, told = drafted(tmp_path / "numbered.jsonl", toy_model, tmp_path / "mine.yaml")
    assert "the labels are numbers that nothing names; label_names, in the file, can say what they stand for" in told
    written = (tmp_path / "mine.yaml").read_text(encoding="utf-8")
    assert '# label_names: ["0", "1", "2"]' in written
    named = written.replace('# label_names: ["0", "1", "2"]', f"label_names: {names}")
    (tmp_path / "named.yaml").write_text(named, encoding="utf-8")
    assert api.check(read_experiment(tmp_path / "named.yaml")).label_names == tuple(names)


def test_control_characters_of_the_data_do_not_reach_the_terminal(toy_model: Path, tmp_path: Path) -> None:
    found = [{"text": row["review"], "label": f"\x1b]0;{row['stars']}\x07"} for row in rows()]
    write_jsonl(tmp_path / "odd.jsonl", found)
    _, told = drafted(tmp_path / "odd.jsonl", toy_model, tmp_path / "mine.yaml")
    assert "\x1b" not in told


def test_a_file_that_is_there_is_not_overwritten(toy_data: Path, toy_model: Path, tmp_path: Path) -> None:
    to = tmp_path / "mine.yaml"
    to.write_text("mine", encoding="utf-8")
    shown = RUNNER.invoke(app, ["init", "--data", str(toy_data), "--model", str(toy_model), "--to", str(to)])
    assert isinstance(shown.exception, UserError)
    assert to.read_text(encoding="utf-8") == "mine"


def test_a_name_of_the_data_cannot_break_out_of_its_value(toy_model: Path, tmp_path: Path) -> None:
    odd = 'te"xt: {baseline: lora} # '
    write_jsonl(tmp_path / "odd.jsonl", [{odd: row["review"], "label": row["stars"]} for row in rows()])
    experiment, _ = drafted(tmp_path / "odd.jsonl", toy_model, tmp_path / "mine.yaml")
    assert experiment.conditions.task.data.text == odd
    assert experiment.baseline == "full"


def test_data_without_text_is_told_with_its_columns(toy_model: Path, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "numbers.jsonl", [{"x": place, "z": place * 2} for place in range(50)])
    with pytest.raises(UserError, match="no column holds text; the columns are x, z"):
        api.draft(str(tmp_path / "numbers.jsonl"), str(toy_model))
