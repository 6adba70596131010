"""Whatever a name is, a reader of report.md, study.md or results.md sees it as it is written."""

import pandas as pd
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from test_free_text_in_plots import names

from fedtiny.escaping.markdown import Markdown, markdown_block, markdown_code, markdown_text
from fedtiny.report import aggregate, sections, study_markdown, study_tables
from fedtiny.report import rows as csv_rows
from fedtiny.report.study import StudyRow
from fedtiny.report.tables import markdown_table

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
once = settings(deadline=None, max_examples=60)


def seen(token: Token) -> str:
    """The text of inline content; anything that is no text would show as its kind."""
    shown = ("text", "text_special", "code_inline")
    return "".join(
        one.content if one.type in shown else f"<{one.type}>"
        for one in token.children or []
        if not (one.type == "html_inline" and one.content in ("<code>", "</code>"))
    )


def cells(text: str) -> list[str]:
    """Of the tables of a document, heads too."""
    tokens = READER.parse(text)
    starts = ("td_open", "th_open")
    return [seen(tokens[k + 1]) for k, token in enumerate(tokens) if token.type in starts]


def paragraphs(text: str) -> list[str]:
    tokens = READER.parse(text)
    starts = ("paragraph_open", "heading_open")
    return [seen(tokens[k + 1]) for k, token in enumerate(tokens) if token.type in starts]


@given(st.lists(names, min_size=2, max_size=4))
@example(["__x__", "_a_b_"])
@example(["a|b", "\\|"])
@example([" a ", "\N{NO-BREAK SPACE}"])
@example(["`a`|", "``"])
@example(["&amp;", "<b>x</b>"])
@once
def test_cells_give_back_the_text(texts: list[str]) -> None:
    assert cells(markdown_table(texts, [texts, texts])) == 3 * texts
    code = [markdown_code(text) for text in texts]
    assert cells(markdown_table(code, [code])) == 2 * texts
    marked = Markdown("**yes**")
    assert cells(markdown_table(["a"], [[marked]])) == ["a", "<strong_open>yes<strong_close>"]


@given(names)
@example("# no heading")
@example("- no list")
@example("1. no list")
@example("+")
@example("===")
@example("---")
@example("- - -")
@example("1) no list")
@example("-")
@once
def test_headings_and_paragraphs_give_back_the_text(text: str) -> None:
    assert paragraphs(f"# {markdown_text(text)}, seed 3") == [f"{text}, seed 3"]
    assert paragraphs(f"A model {markdown_code(text)}.") == [f"A model {text}."]
    assert paragraphs(f"{markdown_text(text)}: more") == [f"{text}: more"]


@given(st.text("`~a \n", min_size=1))
@once
def test_a_block_gives_back_its_lines(text: str) -> None:
    (token,) = READER.parse(markdown_block(text))
    assert (token.type, token.content) == ("fence", f"{text}\n")


@given(names, names)
@once
def test_tables_of_a_study_give_back_names_of_data_sets_and_methods(
    dataset: str, method: str
) -> None:
    row = StudyRow(dataset, method, 0.01, 0, 0.5, 1, 1, None, 1, None, "abc", "")

    (first, *_) = study_tables.tables([row])
    text = first.markdown()
    assert cells(text) == ["method", "1 %", method, "50.0"]
    assert paragraphs(text)[0] == f"{first.caption}:"
    assert dataset in first.caption


def test_notes_of_a_study_are_text_too(tmp_path) -> None:
    row = StudyRow("d", "m", 0.01, 0, 0.5, 1, 1, None, 1, None, "*abc*", "")
    csv_rows.write(tmp_path / "s.csv", StudyRow, [row])
    assert "1 runs; code: *abc*." in paragraphs(study_markdown(tmp_path / "s.csv"))


@given(names, names)
@once
def test_a_row_of_results_gives_back_the_run_and_the_model(name: str, model: str) -> None:
    columns = [f"{c}_{part}" for c in aggregate.COLUMNS for part in ("mean", "sd")]
    row = pd.Series({"name": name, "model": model, "seeds": (0,), **dict.fromkeys(columns, 0.5)})
    (first, *_) = cells(markdown_table(["run"], [aggregate._cells(row)[:1]]))[1:]
    assert first == f"{name} ({model})"


@given(names, names)
@once
def test_sections_give_back_boards_kinds_layers_and_methods(text: str, other: str) -> None:
    entry = {
        "partition": 0, "device": text, "measured_peak_bytes": None, "predicted_peak_bytes": 1,
        "dominating_line": "weights", "dominating_bytes": 1, "budget_bytes": 1, "batch": 2,
        "micro_batch": 2, "recompute": [text, other],
    }  # fmt: skip
    found = sections.ledger({"ledger": [entry]})
    assert cells(found)[9] == f"0: {text}"
    assert f"on 0: {text}, {other}." in paragraphs(found)[-1]
    sent = {"kind": text, "phase": "train", "bytes_per_device": 1}
    assert cells(sections.departures({"departures": [sent]}))[3].endswith(f"({text})")
    said = sections.selection({"selection": None, "method": text})
    assert paragraphs(said) == [f"Nothing was selected: the method is {text}."]


def test_the_command_of_a_report_can_be_typed(tmp_path) -> None:
    report = {"versions": {}, "timings": {}, "seed": 0}
    (fence, *_) = READER.parse(sections.reproduction(report, "runs/a ``` $b"))
    assert fence.content == "python -m sims.launch --config 'runs/a ``` $b/config.toml'\n"
