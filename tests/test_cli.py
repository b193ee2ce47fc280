from __future__ import annotations

import json
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from omegaconf import OmegaConf

import metamine
from metamine import cli, confdir, run
from metamine.confdir import conf_dir
from metamine.errors import Interrupted, MetamineError

Config = dict[str, Any]


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


Metamine = Callable[..., Outcome]


class Job(NamedTuple):
    config: Config
    directory: Path
    overrides: list[str]
    resuming: bool


@pytest.fixture(scope="session")
def slim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with metamine's configs, less those that take Hydra long to read."""
    folder = tmp_path_factory.mktemp("slim")
    shutil.copytree(conf_dir(), folder / "conf")
    (folder / "conf/source/synthetic.yaml").write_text(
        (folder / "conf/source/sinusoid.yaml").read_text()
    )
    (folder / "conf/evaluation/default.yaml").write_text(
        "{_target_: metamine.evaluation.Evaluation, seed: 0, protocols: {few: '${protocol}'},"
        " also: {}, baselines: {}, episodes: 2, tasks: 2,"
        " validation_episodes: 2, validation_tasks: 2}\n"
    )
    return folder


@pytest.fixture
def command(
    slim: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Metamine:
    """Run metamine's main with the given words, in an empty directory."""
    monkeypatch.setattr(confdir, "PLACES", (slim / "conf",))
    for variable in ("HYDRA_FULL_ERROR", "METAMINE_COMMAND"):
        monkeypatch.setenv(variable, "0")  # set by the program; put back after the test
    monkeypatch.delenv("METAMINE_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["metamine", *words])
        try:
            code = cli.main()
        except SystemExit as left:
            code = int(left.code or 0)
        return Outcome(code, *capfd.readouterr())

    return invoke


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """The jobs carried out, by a stand-in that fails in a way the seed chooses."""
    done: list[Job] = []

    def train(config: Config, directory: Path, overrides: list[str], resuming: bool) -> float:
        done.append(Job(config, directory, overrides, resuming))
        (directory / "config.yaml").write_text(OmegaConf.to_yaml(config))
        if config["seed"] == 13:
            raise MetamineError("the loss is nan at step 3")
        if config["seed"] == 14:
            raise RuntimeError("two\nlines")
        if config["seed"] == 15:
            raise Interrupted(15)
        if config["seed"] == 16:
            raise KeyboardInterrupt
        (directory / "run.json").write_text(json.dumps({"status": "done"}))
        return 0.5

    monkeypatch.setattr(run, "train_job", train)
    monkeypatch.setattr(run, "evaluate_job", train)
    return done


@pytest.fixture
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own config folder."""
    folder = tmp_path_factory.mktemp("mine")
    for group, text in {
        "method/mine": "_target_: my_package.Mine\n",
        "method/wide": "_target_: metamine.methods.metric.protonet.ProtoNet\nencoder: ${encoder}\n",
        "experiment/both": (
            "# @package _global_\n# Two methods.\ndefaults:\n  - override /method: maml\n"
            "steps: 7\nhydra: {sweeper: {params: {seed: '0,1'}}}\n"
        ),
    }.items():
        path = folder / f"{group}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys; from metamine import cli\n"
        "for words in ([], ['--help'], ['-h'], ['--version'], ['list', 'methods']):\n"
        "    sys.argv = ['metamine', *words]; assert cli.main() == 0\n"
        "print({name.partition('.')[0] for name in sys.modules}"
        " & {'torch', 'hydra', 'omegaconf', 'pandas', 'numpy', 'pydantic', 'sklearn'})"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stderr == ""
    assert "usage: metamine COMMAND" in ran.stdout
    assert f"metamine {metamine.__version__}" in ran.stdout
    assert ran.stdout.endswith("set()\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tran"], "there is no command 'tran'; did you mean train?"),
        (
            ["xyz"],
            "there is no command 'xyz'; there are train, evaluate, prefetch, predict, tasks, "
            "transfer, reproduce, report, list, show",
        ),
        (["seed=1"], "the command must come first, as in: metamine train seed=1"),
        (["-m", "train"], "the command must come first, as in: metamine train -m"),
        (
            ["train", "table=x"],
            "a table is no key of one run, but many runs: metamine reproduce NAME",
        ),
        (["train", "stepz=3"], "there is no key stepz; did you mean steps?"),
        (["train", "+stepz=3"], "stepz is not a parameter of Training; did you mean steps?"),
        (["train", "experimet=smoke"], "there is no key experimet; did you mean experiment?"),
        (
            ["train", "inner_steps=1", "method=maml"],
            "there is no key inner_steps; did you mean method.inner_steps?",
        ),
        (["train", "method=mamll"], "there is no method 'mamll'; did you mean maml?"),
        (["train", "device=cuda:99"], "device=cuda:99 is not there; this machine has cpu"),
        (["train", "steps=0"], "steps=0 must be greater than 0"),
        (
            ["train", "method=maml", "+method.inner_stepz=1"],
            "method.inner_stepz is not a parameter of MAML; did you mean method.inner_steps?",
        ),
        (["train", "seed=???"], "seed has no value; add seed=..."),
        (["train", "seed=${sed}"], "seed: Interpolation key 'sed' not found"),
        (["train", "~seed"], "seed is missing; Training needs it"),
        (["train", "seed"], "'seed' cannot be read; an override is written key=value"),
        (["train", "seed=0,1"], "seed=0,1 gives several values; add -m to run with each of them"),
        (["train", "--multirum"], "there is no flag --multirum; did you mean --multirun?"),
        (["train", "--config-dir", "nowhere"], "Additional config directory"),
        (["train", "-m", "seed=0,abc"], 'seed="abc" must be a valid integer'),
        (["train", "-m", "methd=maml,protonet"], "there is no key methd; did you mean method?"),
        (
            ["train", "trust=[os]", "method._target_=os.system"],
            "method._target_ names 'os.system', which is not a class of os",
        ),
        (["train", "resume=nowhere"], "nowhere is no run directory: it has no config.yaml"),
        (["train", "resume=nowhere", "-m"], "resume=nowhere goes on with one run; leave out -m"),
        (["train", "init=nowhere"], "nowhere is no run directory: it has no config.yaml"),
        (
            ["train", "init=pretrained", "method=maml"],
            "init=pretrained brings its own method and encoder; leave out method=maml",
        ),
        (
            ["train", "-m", "init=pretrained", "experiment=smoke,flat_uci", "seed=0,1"],
            "init=pretrained brings its own method and encoder, and experiment=flat_uci chooses "
            "method too; leave it out and give its other keys",
        ),
        (["evaluate"], "evaluate needs a run: metamine evaluate run=RUN"),
        (["evaluate", "run=nowhere"], "nowhere is no run directory: it has no config.yaml"),
        (["tasks"], "tasks needs to know what is asked: metamine tasks similarity run=RUN"),
        (["tasks", "similarty"], "tasks cannot tell 'similarty'; did you mean similarity?"),
        (["tasks", "similarity"], "tasks similarity needs a run: metamine tasks similarity"),
        (
            ["tasks", "similarity", "run=nowhere"],
            "nowhere is no run directory: it has no config.yaml",
        ),
        (["transfer"], "transfer shares out the tables of a source, and source=synthetic has none"),
        (["transfer", "-m", "seed=0"], "transfer has no sweeps; leave out -m"),
        (["show", "nowhere"], "nowhere is no run directory: it has no readable run.json"),
        (["list", "metods"], "there are no metods to list; did you mean methods?"),
        (["list", "runs"], "there is no folder outputs to look for runs in"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_writes_nothing(
    command: Metamine, jobs: list[Job], tmp_path: Path, words: list[str], sentence: str
) -> None:
    outcome = command(*words)
    assert outcome.code == 2
    assert outcome.err.startswith(f"metamine: {sentence}")
    assert outcome.err.count("\n") == 1
    assert not jobs
    assert not list(tmp_path.iterdir())


def test_a_run_gets_its_config_and_a_directory_that_names_it(
    command: Metamine, jobs: list[Job], tmp_path: Path
) -> None:
    assert command("train", "method=maml", "seed=4", "steps=3").code == 0
    (job,) = jobs
    assert job.config["method"]["encoder"] == job.config["encoder"]
    assert (job.config["seed"], job.config["steps"]) == (4, 3)
    assert "hydra" not in job.config
    assert job.overrides == ["method=maml", "seed=4", "steps=3"]
    assert not job.resuming
    assert job.directory.parents[2] == tmp_path / "outputs"
    assert job.directory.name.endswith("_synthetic_maml_s4")
    assert {path.name for path in job.directory.iterdir()} == {"config.yaml", "run.json"}


def test_the_pretrained_model_can_be_evaluated(command: Metamine, jobs: list[Job]) -> None:
    assert command("evaluate", "run=pretrained", "evaluation=flat_uci").code == 0
    assert jobs[0].config["method"]["_target_"].endswith(".CellTransformer")
    assert (jobs[0].config["run"], jobs[0].config["checkpoint"]) == ("pretrained", "best")
    assert "15-rows" in jobs[0].config["evaluation"]["protocols"]
    assert jobs[0].directory.name.endswith("_pretrained")


def test_init_brings_the_method_of_a_run(
    command: Metamine, jobs: list[Job], tmp_path: Path
) -> None:
    command("train", "method=maml", "method.inner_steps=2", "encoder=mlp", "seed=4", "steps=3")
    first = jobs[0]
    outcome = command("train", f"init={first.directory}", "seed=5")
    assert outcome.code == 0, outcome.err
    for key in ("method", "encoder"):
        assert jobs[1].config[key] == first.config[key]
    assert jobs[1].config["init"] == str(first.directory)
    assert (jobs[1].config["seed"], jobs[1].config["steps"]) == (5, 2000)
    assert jobs[1].directory.name.endswith(f"_synthetic_{first.directory.name}_s5")
    assert command("train", "init=null").code == 0
    assert jobs[2].config["init"] is None


def test_flags_may_stand_anywhere(command: Metamine, jobs: list[Job], mine: Path) -> None:
    words = ("seed=1", "--config-dir", str(mine), "method=wide", "-m", "steps=1,2")
    assert command("train", *words).code == 0
    assert [job.config["steps"] for job in jobs] == [1, 2]


def test_two_runs_at_once_do_not_share_a_directory(command: Metamine, jobs: list[Job]) -> None:
    command("train")
    command("train")
    assert jobs[0].directory != jobs[1].directory


@pytest.mark.parametrize(
    ("seed", "code", "sentence"),
    [
        (13, 1, "the loss is nan at step 3"),
        (14, 1, "unexpected RuntimeError: two lines (traceback in "),
        (15, 143, "stopped by SIGTERM"),
        (16, 130, "stopped by SIGINT"),
    ],
)
def test_a_failing_run_ends_in_a_sentence_and_an_exit_code(
    command: Metamine, jobs: list[Job], seed: int, code: int, sentence: str
) -> None:
    outcome = command("train", f"seed={seed}")
    assert outcome.code == code
    assert outcome.err.startswith(f"metamine: {sentence}")
    assert outcome.err.count("\n") == 1
    log = jobs[0].directory / "log.txt"
    assert log.exists() == (seed == 14)
    assert seed != 14 or "RuntimeError: two" in log.read_text()


def test_traceback_on_request(
    command: Metamine, jobs: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METAMINE_DEBUG", "1")
    assert "Traceback" in command("train", "seed=13").err


def test_a_sweep_finishes_names_what_failed_and_has_stable_directories(
    command: Metamine, jobs: list[Job]
) -> None:
    words = ("train", "-m", "seed=13,14,1", "steps=5")
    outcome = command(*words)
    assert outcome.code == 1
    assert len(jobs) == 3
    assert all(job.resuming for job in jobs)  # what is there already is gone on with
    first = [job.directory for job in jobs]
    summary = outcome.err[outcome.err.index("metamine: 2 failed") :]
    assert f"\n  {first[0]}: the loss is nan at step 3" in summary
    assert f"\n  {first[1]}: unexpected RuntimeError: two lines (traceback in " in summary
    assert str(first[2]) not in summary
    assert len(set(first)) == 3

    jobs.clear()
    assert command(*words, "device=cpu", "threads=2").code == 1
    assert [job.directory for job in jobs] == first
    jobs.clear()
    assert command("train", "-m", "steps=6", "seed=1").code == 0
    assert jobs[0].directory not in first


def test_a_signal_stops_a_sweep(command: Metamine, jobs: list[Job]) -> None:
    assert command("train", "-m", "seed=15,1").code == 143
    assert len(jobs) == 1


def test_failed_jobs_leave_no_memory_behind(
    command: Metamine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Large:
        pass

    held: list[weakref.ref[Large]] = []

    def fail(*_: object) -> float:
        assert all(reference() is None for reference in held)
        large = Large()
        held.append(weakref.ref(large))
        raise MetamineError("failed")

    monkeypatch.setattr(run, "train_job", fail)
    outcome = command("train", "-m", "seed=1,2")
    assert len(held) == 2
    assert outcome.err.count("failed: failed") == 2


def test_own_experiment_sweeps_under_its_name(
    command: Metamine, jobs: list[Job], mine: Path
) -> None:
    assert command("train", "-m", "experiment=both", "--config-dir", str(mine)).code == 0
    assert [job.config["seed"] for job in jobs] == [0, 1]
    assert {job.config["steps"] for job in jobs} == {7}
    assert {job.directory.parent.name for job in jobs} == {"both"}


def test_own_method_must_be_trusted(
    command: Metamine, jobs: list[Job], mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", "method=mine", "--config-dir", str(mine))
    assert "add trust=[my_package] if you trust its code" in command(*words).err
    assert not jobs
    (mine / "my_package.py").write_text(
        "from metamine.methods.base import Method\n"
        "class Mine(Method):\n"
        "    def predict(self, support, query_x): ...\n"
    )
    monkeypatch.syspath_prepend(mine)
    assert command(*words, "trust=[my_package]").code == 0
    assert jobs[0].config["method"] == {"_target_": "my_package.Mine"}


def test_resume_takes_the_run_s_own_config_and_directory(
    command: Metamine, jobs: list[Job]
) -> None:
    command("train", "method=maml", "seed=4", "method.inner_steps=2", "trust=[my_package]")
    outcome = command("train", f"resume={jobs[0].directory}", "steps=9")
    assert outcome.code == 0
    assert jobs[1].directory == jobs[0].directory
    assert jobs[1].resuming
    assert jobs[1].config == jobs[0].config | {"steps": 9, "trust": []}


def test_evaluate_starts_from_the_run_s_config(
    command: Metamine, jobs: list[Job], tmp_path: Path
) -> None:
    command("train", "method=maml", "method.inner_steps=2", "source.phase=[0,1]")
    trained = jobs[0]
    own = {"run": str(trained.directory), "checkpoint": "best"}
    assert command("evaluate", f"run={trained.directory}").code == 0
    assert jobs[1].config == trained.config | own
    assert jobs[1].directory.parents[1] == tmp_path / "outputs" / "evaluate"
    assert not jobs[1].resuming

    words = ("source=shipped", "evaluation.seed=7", "checkpoint=last")
    assert command("evaluate", *words, f"run={trained.directory}").code == 0
    config = jobs[2].config
    assert config["source"] == OmegaConf.load(conf_dir() / "source/shipped.yaml")
    assert config["evaluation"] == trained.config["evaluation"] | {"seed": 7}
    assert config["method"] == trained.config["method"]
    assert config["checkpoint"] == "last"

    sweep = ("-m", "source=shipped,synthetic", f"run={trained.directory}")
    assert command("evaluate", *sweep).code == 0
    assert jobs[3].config["source"] == config["source"]
    assert jobs[4].config["source"] == OmegaConf.load(conf_dir() / "source/synthetic.yaml")


def test_what_a_run_s_nodes_refer_to_can_still_be_changed(
    command: Metamine, jobs: list[Job]
) -> None:
    command("train", "source=tables", "path=here")
    run = f"run={jobs[0].directory}"
    assert command("evaluate", run, "path=there", "encoder=mlp").code == 0
    config = jobs[1].config
    assert config["source"] == jobs[0].config["source"] | {"path": "there"}
    assert config["method"]["encoder"] == config["encoder"]
    assert config["encoder"] == OmegaConf.load(conf_dir() / "encoder/mlp.yaml")


def test_a_stranger_s_run_cannot_bring_its_own_code(
    command: Metamine, jobs: list[Job], tmp_path: Path
) -> None:
    command("train")
    path = jobs[0].directory / "config.yaml"
    evil = {
        "trust": ["os"],
        "hydra": {"callbacks": {"evil": {"_target_": "os.mkdir", "path": str(tmp_path / "evil")}}},
        "method": {"_target_": "os.mkdir", "path": str(tmp_path / "evil")},
    }
    path.write_text(OmegaConf.to_yaml(OmegaConf.merge(jobs[0].config, evil)))
    outcome = command("evaluate", f"run={path.parent}")
    assert outcome.code == 2
    assert "names 'os.mkdir', which lies outside metamine; add trust=[os]" in outcome.err
    assert len(jobs) == 1
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("word", ["train", "evaluate", "tasks"])
def test_own_help(command: Metamine, word: str) -> None:
    outcome = command(word, "--help")
    assert outcome.code == 0
    assert f"usage: metamine {word}" in outcome.out
    assert "examples" in outcome.out
    methods = sorted(path.stem for path in (conf_dir() / "method").glob("*.yaml"))
    assert f"method: {', '.join(methods)}" in outcome.out


def test_config_can_be_printed(command: Metamine, tmp_path: Path) -> None:
    outcome = command("train", "--cfg", "job", "-p", "method", "method=maml")
    assert outcome.out.startswith("# @package method\n_target_: metamine.methods.optimization.maml")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "metamine ",
            {
                *("train", "evaluate", "prefetch", "predict", "tasks", "transfer"),
                *("reproduce", "report", "list", "show"),
            },
        ),
        ("metamine reproduce maml", {"maml_sinusoid"}),
        ("metamine tr", {"train", "transfer"}),
        ("metamine transfer opt", {"optimizer=", "optimizer."}),
        ("metamine tasks s", {"similarity", "split=", "seed="}),
        ("metamine train opt", {"optimizer=", "optimizer."}),
        (
            "metamine train protocol=",
            {"protocol=few_shot", "protocol=labelled_rows", "protocol=pretraining"},
        ),
        ("metamine train -m seed=1 method=proto", {"method=protonet"}),
        ("metamine train method=maml method.inner_s", {"method.inner_steps="}),
        ("metamine train --conf", set()),
        ("metamine evaluate run=here encoder=m", {"encoder=mlp"}),
        ("metamine list m", {"methods"}),
        ("metamine nonsense ", set()),
    ],
)
def test_completion(
    command: Metamine, monkeypatch: pytest.MonkeyPatch, line: str, expected: set[str]
) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    outcome = command("-sc", "query=bash")
    assert outcome.code == 0
    assert set(outcome.out.split()) == expected


def test_completion_of_own_configs(
    command: Metamine, monkeypatch: pytest.MonkeyPatch, mine: Path
) -> None:
    monkeypatch.setenv("COMP_LINE", f"metamine train --config-dir {mine} experiment=bo")
    assert command("-sc", "query=bash").out.split() == ["experiment=both"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(command: Metamine, shell: str) -> None:
    outcome = command("-sc", f"install={shell}")
    assert outcome.code == 0
    assert f"-sc query={'fish' if shell == 'fish' else 'bash'}" in outcome.out


def test_list_methods_by_family_with_purpose_and_paper(command: Metamine) -> None:
    lines = command("list", "methods").out.splitlines()
    headings = [line.partition(":")[0] for line in lines if not line.startswith(" ")]
    assert headings == ["optimization", "metric", "model", "data"]
    found = {line.split()[0]: number for number, line in enumerate(lines) if line[2:3].strip()}
    names = {path.stem for path in (conf_dir() / "method").glob("*.yaml")}
    assert found.keys() - {f"{heading}:" for heading in headings} == names
    for name, purpose, paper in (
        (
            "maml",
            "Gradient descent from a learned start: any network, classification and regression.",
            'Chelsea Finn et al.: "Model-Agnostic Meta-Learning for Fast Adaptation of Deep '
            'Networks" (2017)',
        ),
        (
            "protonet",
            "The nearest mean in a learned space: fast, and hard to beat at few shots.",
            'Jake Snell et al.: "Prototypical Networks for Few-shot Learning" (2017)',
        ),
    ):
        line, below = lines[found[name]], lines[found[name] + 1]
        assert line.split(maxsplit=1) == [name, purpose]
        assert below == " " * line.index(purpose) + paper
    assert found["maml"] < found["metric:"] < found["protonet"] < found["model:"]


@pytest.mark.parametrize("kind", ["baselines", "encoders", "sources", "experiments"])
def test_list_gives_a_purpose(command: Metamine, kind: str) -> None:
    lines = command("list", kind).out.splitlines()
    assert lines
    assert all(len(line.split()) > 2 for line in lines), f"{kind} without a description"


def test_list_methods_without_a_paper_or_a_family(command: Metamine, slim: Path) -> None:
    other = slim / "conf/method/other.yaml"
    other.write_text("# Of another package.\n_target_: my_package.module.Mine\n")
    try:
        lines = command("list", "methods").out.splitlines()
    finally:
        other.unlink()
    assert lines[-1].split() == ["other", "Of", "another", "package."]


def test_list_runs_and_show(command: Metamine, tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "one"
    (tmp_path / "outputs" / "broken").mkdir(parents=True)
    (tmp_path / "outputs" / "broken" / "run.json").write_text("{")
    folder.mkdir()
    facts = {"status": "failed", "error": "it broke", "seed": 3, "command": "metamine train seed=3"}
    choices = {"choices": {"method": "MAML", "source": "synthetic"}, "headline": 0.51234}
    (folder / "run.json").write_text(json.dumps(facts | choices))
    (folder / "config.yaml").write_text("seed: 3\nmethod: {_target_: metamine.a.b.MAML}\n")
    (folder / "report.md").write_text(
        "# Title\n\n| method | iris |\n|---|---|\n| MAML | 1 |\n\nend"
    )
    broken, row = command("list", "runs").out.splitlines()[1:]
    assert "unreadable run.json" in broken
    assert row.split() == ["outputs/one", "failed", "MAML", "synthetic", "3", "0.5123"]

    shown = command("show", "outputs/one").out
    for line in (
        "it broke",
        "metamine train seed=3",
        "MAML",
        "| MAML | 1 |",
        "outputs/one/report.md",
    ):
        assert line in shown
    assert "end" not in shown.splitlines()


def test_report_is_handed_the_paths(command: Metamine, monkeypatch: pytest.MonkeyPatch) -> None:
    from metamine.report import collect

    monkeypatch.setattr(collect, "report", lambda paths, output: f"{paths} in {output}")
    outcome = command("report", "a", "b", "--output", "c")
    assert outcome.out == f"{[Path('a'), Path('b')]} in c\n\nc\n"
