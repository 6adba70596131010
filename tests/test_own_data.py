"""The README's bring-your-own example, run as it stands."""

from pathlib import Path

from examples import own_data
from fedtiny.runs.events import Evaluated
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from sims.backends import Backend, run_federation


def test_own_data_and_model_in_thirty_lines(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_federation(own_data.my_run(tmp_path), folder, Backend.INLINE)
    last = [event for event in folder.events(Evaluated) if event.round == 3]
    assert {event.who for event in last if event.group == "unseen_people"} == {4, 5}
    assert sum(event.correct for event in last) > 0.95 * sum(event.count for event in last)
    assert TrainedModel.load(folder.model).graph.name == "mine"
    code = [
        line
        for line in Path(own_data.__file__).read_text().splitlines()
        if line.strip() and not line.startswith(("import", "from", '"""'))
    ]
    assert len(code) <= 30
