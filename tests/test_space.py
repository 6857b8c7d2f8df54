"""Reading search files, and the grammar of what is searched."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from metasearch import space
from metasearch.errors import ConfigError
from metasearch.rng import Stream
from metasearch.space import Draw, Fault


def read(text: str) -> Any:
    return space.parse(text, "s.yaml").tree


# Reading ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E5", 1e5),
        ("-1.5e+2", -150.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("20_000", 20_000),
        ("1_000.5", 1000.5),
        ("010", 10),
        ("0x10", 16),
        ("0o17", 15),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2026-11-23", "2026-11-23"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("_1", "_1"),
        ("1_", "1_"),
        ("'1e-3'", "1e-3"),
        ('"true"', "true"),
        ("=", "="),
        ("[a, 1, {b: 2.0}]", ["a", 1, {"b": 2.0}]),
    ],
)
def test_plain_words_mean_what_yaml_1_2_says(text, value):
    built = read(text)
    assert built == value
    assert type(built) is type(value)


def test_not_a_number_is_read_as_such():
    assert math.isnan(read(".nan"))


def test_an_anchor_is_a_copy():
    tree = read("a: &x {b: [1]}\nc: *x\n")
    assert tree == {"a": {"b": [1]}, "c": {"b": [1]}}
    tree["a"]["b"].append(2)
    assert tree["c"] == {"b": [1]}


def test_every_key_and_value_knows_its_place():
    document = space.parse("a:\n  - b: 1\n    c:   {d: 2}\n", "s.yaml")
    place = {p: (m.line, m.column) for p, m in document.values.items()}
    keys = {p: (m.line, m.column) for p, m in document.keys.items()}
    assert place["a", 0] == (2, 5)
    assert place["a", 0, "c", "d"] == (3, 14)
    assert keys["a", 0, "c"] == (3, 5)
    assert keys["a", 0, "c", "d"] == (3, 11)


FLAWS = [  # text, line, column, what is said
    ("a: 1\na: 2\n", 2, 1, "'a' stands here and in line 1"),
    ("a: {b: 1, c: 2, b: 3}\n", 1, 17, "'b' stands here and in line 1"),
    ("a: 1\n? [x]\n: 2\n", 2, 3, "a key must be a word"),
    ("1: x\n", 1, 1, "a key must be a word. Quote it"),
    ("a:\n  true: x\n", 2, 3, "a key must be a word"),
    ("a: &m {b: 1}\nc:\n  <<: *m\n", 3, 3, "merge keys are not allowed"),
    ("a: !!python/object:os.system x\n", 1, 4, "tags such as"),
    ("a: !!python/object/apply:os.system [x]\n", 1, 4, "tags such as"),
    ("a: !thing {b: 1}\n", 1, 4, "tags such as '!thing'"),
    ("a: !!int x\n", 1, 4, "'x' is not a int"),
    ("a: !!bool 1\n", 1, 4, "'1' is not a bool"),
    ('a: "\\ud800"\n', 1, 4, "is not a str"),
    ("a: 1\n\tb: 2\n", 2, 1, "Indent with spaces"),
    ("a: b: c\n", 1, 5, "Quote a text that holds a colon"),
    ("a: @x\n", 1, 4, "Quote a text that starts so"),
    ("a: *x\n", 1, 4, "undefined alias"),
    ("a: 1\n---\nb: 2\n", 2, 1, "Keep one"),
    ("a:\n  b: 1\n c: 2\n", 3, 2, "Check the indentation"),
    ("a: [1, 2\nb: 3\n", 2, 2, "not YAML"),
    ("a: &x [*x]\n", 1, 4, "an alias stands inside itself"),
]


@pytest.mark.parametrize(("text", "line", "column", "said"), FLAWS)
def test_a_flawed_file_is_refused_at_its_place(text, line, column, said):
    with pytest.raises(ConfigError) as caught:
        space.parse(text, "s.yaml")
    shown = str(caught.value).splitlines()
    assert shown[0].startswith(f"s.yaml:{line}:{column}: ")
    assert said in shown[0]
    assert shown[1] == "    " + text.splitlines()[line - 1].rstrip()
    assert shown[2].index("^") == 4 + column - 1


def test_all_flaws_of_the_tree_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        space.parse("a: 1\na: 2\nb: !x 3\n4: 5\n", "s.yaml")
    places = [line for line in str(caught.value).splitlines() if line.startswith("s.yaml")]
    assert [place.split(":")[1] for place in places] == ["2", "3", "4"]


def test_a_bomb_of_aliases_is_refused():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for i in range(1, 12):
        bomb += f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n"
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        space.parse(bomb, "s.yaml")


@pytest.mark.parametrize("depth", [100, 5000])
def test_bottomless_nesting_is_refused(depth):
    with pytest.raises(ConfigError, match=r"levels|too deeply"):
        space.parse("[" * depth + "]" * depth, "s.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds nothing"),
        (b"# only a comment\n", "holds nothing"),
        (b"- a\n- b\n", "holds no mapping"),
        (b"a word", "holds no mapping"),
        (b"a: \xff\n", "not a text in UTF-8"),
        (b"a: \x00\n", "not a YAML text"),
        (b"a: " + b"x" * 1_000_001, "larger than 1,000,000 bytes"),
    ],
)
def test_what_is_no_search_file_is_refused_by_name(tmp_path, content, said):
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as caught:
        space.load(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read") as caught:
            space.load(path)
        assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_no_content(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert space.load(path).tree == {"a": 1}


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]))
    | st.sampled_from(["on", "1e-3", "20_000", "~", "0x1", ".inf", "1:30", "=", "a: b", "- x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(categories=["L", "N"])), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(PLAIN)
def test_what_is_dumped_is_read_back_the_same(data):
    again = read(space.dump(data))
    assert again == data
    assert repr(again) == repr(data)  # 1 is not 1.0, and not true


def test_reading_and_drawing_load_neither_numpy_nor_pydantic():
    code = "import sys, metasearch.space; sys.exit(bool({'numpy', 'pydantic'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Overrides ----------------------------------------------------------------------------------------

BASE = "trial:\n  tasks: glyphs\n  models:\n    - {name: vae, latent: 8}\n  outer:\n"


def overridden(*assignments: str) -> space.Document:
    return space.apply_overrides(space.parse(BASE, "s.yaml"), assignments)


@pytest.mark.parametrize(
    ("assignment", "path", "value"),
    [
        ("trial.models[0].latent=16", ("trial", "models", 0, "latent"), 16),
        ("trial.models.0.latent=16", ("trial", "models", 0, "latent"), 16),
        ("trial.models[0]=gan", ("trial", "models", 0), "gan"),
        ("trial.outer.lr=1e-3", ("trial", "outer", "lr"), 1e-3),
        ("trial.new.key.deep=x", ("trial", "new", "key", "deep"), "x"),
        ("trial.tasks.shot=5", ("trial", "tasks"), {"name": "glyphs", "shot": 5}),
        ("trial.tasks.path=/a=b c", ("trial", "tasks", "path"), "/a=b c"),
        ("search={trials: 3}", ("search", "trials"), 3),
        ("trial.also=[a, b]", ("trial", "also"), ["a", "b"]),
        ("trial.outer=", ("trial", "outer"), None),
        (
            "trial.outer.lr={log_uniform: [1e-4, 1]}",
            ("trial", "outer", "lr", "log_uniform", 0),
            1e-4,
        ),
    ],
)
def test_an_override_is_laid_over_the_file(assignment, path, value):
    node = overridden(assignment).tree
    for part in path:
        node = node[part]
    assert node == value
    assert type(node) is type(value)


def test_an_override_leaves_the_document_alone():
    document = space.parse(BASE, "s.yaml")
    space.apply_overrides(document, ["trial.models[0].latent=16"])
    assert document.tree["trial"]["models"][0]["latent"] == 8


def test_the_last_of_two_overrides_holds():
    assert overridden("a=1", "a=2").tree["a"] == 2


def test_a_fault_in_an_override_is_shown_in_the_flag():
    document = overridden("trial.models[0]={name: vae, latent: x}")
    error = document.error([Fault(("trial", "models", 0, "latent"), "not so.")])
    assert str(error).splitlines() == [
        "-s: trial.models[0].latent: not so.",
        "    trial.models[0]={name: vae, latent: x}",
        "    " + " " * 36 + "^",
    ]


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("trial", "an assignment is path=value"),
        ("=3", "an assignment is path=value"),
        (".trial=3", "an assignment is path=value"),
        ("trial..x=3", "an assignment is path=value"),
        ("trial.models[x]=3", "an assignment is path=value"),
        ("trial.models[1].latent=3", "trial.models is a list and takes an index from 0 to 0"),
        ("trial.models.vae.latent=3", "an index from 0 to 0, got 'vae'"),
        ("trial.models[0].latent.x=3", "trial.models.0.latent is 8, which has no 'x'"),
        ("trial.tasks=@x", "Quote a text that starts so"),
        ("trial.tasks=[1", "not YAML"),
        ("trial.tasks={a: 1, a: 2}", "'a' stands here and in further left"),
    ],
)
def test_a_flawed_override_is_refused_with_what_was_given(assignment, said):
    with pytest.raises(ConfigError) as caught:
        overridden(assignment)
    assert str(caught.value).startswith("-s: ")
    assert said in str(caught.value)


def test_all_flawed_overrides_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        overridden("nonsense", "trial.models[7]=x", "a=1")
    assert str(caught.value).count("-s: ") == 2


# The grammar --------------------------------------------------------------------------------------

GAN = """
models:
  - choice:
      - {name: vae, latent: {log_integers: [8, 128]}}
      - name: gan
        latent: {choice: [64, 128]}
        loss: {choice: [hinge, {name: logistic, r1: {log_uniform: [1e-2, 10]}}]}
  - {name: vae, latent: {log_integers: [8, 128]}}
outer: {lr: {log_uniform: [1e-4, 1e-2]}, clip: {uniform: [0, 1]}, steps: {integers: [1, 5]}}
"""


def test_draws_are_named_by_their_paths():
    found = space.draws(read(GAN))
    gan = ("models[0]", "gan")
    assert found == [
        Draw("models[0]", "choice", ("vae", "gan")),
        Draw("models[0].vae.latent", "log_integers", (), 8, 128, (("models[0]", "vae"),)),
        Draw("models[0].gan.latent", "choice", (64, 128), only_if=(gan,)),
        Draw("models[0].gan.loss", "choice", ("hinge", "logistic"), only_if=(gan,)),
        Draw(
            "models[0].gan.loss.logistic.r1",
            "log_uniform",
            (),
            1e-2,
            10,
            (gan, ("models[0].gan.loss", "logistic")),
        ),
        Draw("models[1].latent", "log_integers", (), 8, 128),
        Draw("outer.lr", "log_uniform", (), 1e-4, 1e-2),
        Draw("outer.clip", "uniform", (), 0, 1),
        Draw("outer.steps", "integers", (), 1, 5),
    ]


def test_what_is_in_a_branch_exists_only_when_it_is_picked():
    rest = {"models[1].latent": 8, "outer.lr": 1e-3, "outer.clip": 0.5, "outer.steps": 2}
    tree = read(GAN)
    vae = space.resolve(tree, rest | {"models[0]": "vae", "models[0].vae.latent": 9})
    assert vae["models"] == [{"name": "vae", "latent": 9}, {"name": "vae", "latent": 8}]
    gan = {"models[0]": "gan", "models[0].gan.latent": 64, "models[0].gan.loss": "hinge"}
    assert space.resolve(tree, rest | gan)["models"][0] == {
        "name": "gan",
        "latent": 64,
        "loss": "hinge",
    }


def test_a_label_tells_options_of_one_name_apart_and_is_gone_from_the_value():
    tree = read(
        "m: {choice: [{name: vae, latent: {integers: [1, 2]}}, "
        "{name: vae, label: big, latent: {integers: [8, 9]}}]}"
    )
    assert [d.path for d in space.draws(tree)] == ["m", "m.vae.latent", "m.big.latent"]
    resolved = space.resolve(tree, {"m": "big", "m.big.latent": 8})
    assert resolved == {"m": {"name": "vae", "latent": 8}}


def test_a_label_outside_a_choice_is_an_ordinary_key():
    assert space.resolve(read("a: {label: x}"), {}) == {"a": {"label": "x"}}


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, "lr: no value was given; it is drawn from"),
        ({"lr": 0.5, "n": 1}, "m: no value was given; it is of 'a', 2."),
        ({"lr": 5, "n": 1, "m": "a"}, "lr: 5 is not within"),
        ({"lr": "x", "n": 1, "m": "a"}, "lr: 'x' is not a float"),
        ({"lr": 0.5, "n": 1.5, "m": "a"}, "n: 1.5 is not a int"),
        ({"lr": 0.5, "n": True, "m": "a"}, "n: True is not a int"),
        ({"lr": 0.5, "n": 1, "m": "b"}, "m: 'b' is none of 'a', 2."),
        ({"lr": 0.5, "n": 1, "m": "a", "q": 1}, "q: nothing is drawn by this name here."),
    ],
)
def test_values_that_do_not_fit_the_space_are_refused(params, said):
    tree = read("lr: {uniform: [0, 1]}\nn: {integers: [1, 3]}\nm: {choice: [a, 2]}")
    with pytest.raises(ConfigError) as caught:
        space.resolve(tree, params)
    assert said in str(caught.value)


def test_all_values_that_do_not_fit_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        space.resolve(read(GAN), {"outer.lr": 7, "zz": 1})
    assert len(str(caught.value).splitlines()) == 7


WRONG = [  # text of a tree, path of the fault, words
    ("a: {uniform: [1, 0]}", "a", "the low bound comes first"),
    ("a: {uniform: [1, 1]}", "a", "the low bound comes first"),
    ("a: {uniform: 3}", "a", "takes two bounds"),
    ("a: {uniform: [1]}", "a", "uniform: [low, high]"),
    ("a: {uniform: [1, 2, 3]}", "a", "takes two bounds"),
    ("a: {uniform: ['1e-3', 1]}", "a", 'got "1e-3". Remove the quotes.'),
    ("a: {uniform: [true, 2]}", "a", "are finite numbers, got true"),
    ("a: {uniform: [0, .inf]}", "a", "are finite numbers"),
    ("a: {uniform: [.nan, 1]}", "a", "are finite numbers"),
    ("a: {uniform: [null, 1]}", "a", "got null"),
    ("a: {log_uniform: [0, 1]}", "a", "needs a low bound above 0, got 0. Raise it, or use 'uni"),
    ("a: {log_integers: [-1, 8]}", "a", "or use 'integers'"),
    ("a: {integers: [1.5, 3]}", "a", "whole numbers, got 1.5. Use 'uniform'"),
    ("a: {integers: [1.0, 3]}", "a", "got 1.0. Write 1."),
    ("a: {integers: [1, 1e400]}", "a", "whole numbers"),
    ("a: {integers: [1, 99999999999999999999]}", "a", "whole numbers"),
    ("a: {choice: []}", "a", "takes a list of options"),
    ("a: {choice: x}", "a", "takes a list of options"),
    ("a: {choice: {b: 1}}", "a", "takes a list of options"),
    ("a: {choice: [1, 1]}", "a", "1 and 1 are the same option. Remove one."),
    ("a: {choice: [1, true]}", "a", "true and 1 are the same option"),
    ("a: {choice: [1, 1.0]}", "a", "are the same option"),
    ("a: {choice: [.nan, 1]}", "a", "an option must be finite"),
    ("a: {choice: [[1], 2]}", "a", "an option is a word"),
    ("a: {choice: [{x: 1}]}", "a.choice[0]", "needs a `name` (or a `label`)"),
    ("a: {choice: [{name: 3}]}", "a.choice[0]", "needs a `name`"),
    ("a: {choice: [{name: {choice: [x]}}]}", "a.choice[0]", "needs a `name`"),
    ("a: {choice: [{uniform: [0, 1]}]}", "a.choice[0]", "an option cannot be a draw itself"),
    ("a: {choice: [{name: x}, {name: x}]}", "a.x", "Give one a `label`."),
    ("a: {choice: [x, {name: x}]}", "a.x", "are the same option"),
    ("a: {uniform: [0, 1], choice: [2]}", "a.uniform", "only as the single key"),
    ("a: {uniform: [0, 1], b: 2}", "a.uniform", "only as the single key"),
    ("seed: {integers: [0, 9]}", "seed", "seeds are never drawn"),
    ("a: [{seed: {choice: [1, 2]}}]", "a[0].seed", "seeds are never drawn"),
    ("a: {choice: [{name: x, b: {uniform: [2, 1]}}]}", "a.x.b", "the low bound comes first"),
    ("choice: [1, 2]", "", "a whole tree cannot be one 'choice'"),
]


@pytest.mark.parametrize(("text", "path", "said"), WRONG)
def test_what_breaks_the_grammar_is_refused_at_its_path(text, path, said):
    tree = read(text)
    found = list(space.faults(tree))
    assert path in [space.readable(tree, f.path) for f in found]
    assert any(said in f.message for f in found)
    assert all(f.within is not None for f in found)
    for refuse in (space.draws, lambda t: space.resolve(t, {})):
        with pytest.raises(ConfigError) as caught:
            refuse(tree)
        assert said in str(caught.value)


def test_a_fault_of_a_bound_is_shown_at_the_bound():
    document = space.parse("a:\n  lr: {log_uniform: [0, x]}\n", "s.yaml")
    shown = str(document.error(space.faults(document.tree))).splitlines()
    assert shown[0].startswith("s.yaml:2:25: a.lr: ")
    assert shown[2].index("^") - 4 == shown[1].index("x") - 4


def test_faults_are_told_in_the_order_of_the_file_and_once():
    document = space.parse("b: 1\na: 2\n", "s.yaml")
    fault = [Fault(("a",), "late."), Fault(("b",), "early."), Fault(("a",), "late.")]
    lines = str(document.error(fault)).splitlines()
    assert [line for line in lines if line.startswith("s.yaml")] == [
        "s.yaml:1:4: b: early.",
        "s.yaml:2:4: a: late.",
    ]


def test_a_caret_stands_under_a_column_behind_a_tab():
    document = space.parse("{a: '\t', b: 1}\n", "s.yaml")
    shown = str(document.error([Fault(("b",), "no.")])).splitlines()
    assert shown[2] == "    " + "     \t      ^"


@pytest.mark.parametrize(
    ("text", "recipes", "branches"),
    [
        ("a: 1", 1, 1),
        ("a: {integers: [1, 5]}\nb: {choice: [x, y]}", 10, 1),
        ("a: {uniform: [0, 1]}", None, 1),
        ("a: {choice: [x, {name: y, n: {integers: [1, 3]}}]}", 4, 2),
        ("a: {choice: [{name: x, u: {uniform: [0, 1]}}, {name: y}, z, w]}\nb: [1]", None, 3),
        ("a: &x {choice: [{name: x}, {name: y}]}\nb: *x", 4, 4),
    ],
)
def test_the_size_counts_recipes_and_branches(text, recipes, branches):
    found = space.size(read(text))
    assert (found.configurations, found.branches) == (recipes, branches)
    assert str(branches) in str(found)


class Recorder:
    """Takes down what is asked, and answers like a random suggester."""

    def __init__(self, seed: int) -> None:
        self.params: dict[str, Any] = {}
        self.asked: list[str] = []
        self._random = space.random_suggester(Stream(seed))

    def _keep(self, name: str, value: Any) -> Any:
        self.asked.append(name)
        self.params[name] = value
        return value

    def suggest_float(self, name, low, high, *, log=False):
        assert isinstance(low, float)
        assert isinstance(high, float)
        value = self._random.suggest_float(name, low, high, log=log)
        assert low <= value <= high
        return self._keep(name, value)

    def suggest_int(self, name, low, high, *, log=False):
        value = self._random.suggest_int(name, low, high, log=log)
        assert low <= value <= high
        return self._keep(name, value)

    def suggest_categorical(self, name, choices):
        return self._keep(name, self._random.suggest_categorical(name, choices))


KEYS = st.text("ab.[]0 ", min_size=1, max_size=3)
BOUNDS = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda p: [p[0], sum(p)])
NUMBERS = st.builds(
    lambda word, bounds: {word: bounds},
    st.sampled_from(["uniform", "log_uniform", "integers", "log_integers"]),
    BOUNDS,
)


@st.composite
def nodes(draw, depth):
    kinds = ["word", "number", "draw"] + ["list", "mapping", "choice", "branches"] * (depth > 0)
    kind = draw(st.sampled_from(kinds))
    below = nodes(depth - 1)
    if kind == "list":
        return draw(st.lists(below, max_size=2))
    if kind == "mapping":
        return draw(st.dictionaries(KEYS, below, max_size=3))
    if kind in {"choice", "branches"}:
        labels = draw(st.lists(KEYS | st.integers(-3, 3), min_size=1, max_size=4, unique=True))
        return {"choice": [draw(options(label, below, kind)) for label in labels]}
    return draw({"word": KEYS, "number": st.integers(), "draw": NUMBERS}[kind])


@st.composite
def options(draw, label, below, kind):
    if kind == "choice" or not isinstance(label, str):
        return label
    return {**draw(st.dictionaries(KEYS, below, max_size=2)), "name": label}


TREES = st.dictionaries(KEYS, nodes(2), max_size=4)


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_every_draw_has_a_name_of_its_own(tree):
    names = [draw.path for draw in space.draws(tree)]
    assert len(set(names)) == len(names)


@settings(max_examples=200, deadline=None)
@given(TREES, st.integers(0, 9))
def test_a_sample_is_resolved_again_from_what_was_drawn(tree, seed):
    recorder = Recorder(seed)
    sampled = space.sample(tree, recorder)
    assert len(recorder.asked) == len(recorder.params)  # nothing is asked twice
    assert space.resolve(tree, recorder.params) == sampled
    assert not list(space.places(sampled))


@settings(max_examples=200, deadline=None)
@given(TREES, st.integers(0, 9))
def test_exactly_what_the_picked_branches_contain_is_drawn(tree, seed):
    recorder = Recorder(seed)
    space.sample(tree, recorder)
    there = {
        draw.path
        for draw in space.draws(tree)
        if all(recorder.params.get(path) == label for path, label in draw.only_if)
    }
    assert there == set(recorder.params)


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_covering_trees_show_every_option_and_bound_where_it_is_written(tree):
    seen = set()
    for traced in space.covering(tree):
        for at, raw in traced.origins.items():
            seen.add(raw)
            assert _at(traced.tree, at) == _at(traced.tree, at)
            if not isinstance(_at(tree, raw), dict | list):
                assert _at(traced.tree, at) == _at(tree, raw)
    for raw in _options(tree, ()):
        assert raw in seen


def _at(tree, path):
    for part in path:
        tree = tree[part]
    return tree


def _options(tree, path):
    if space.word_of(tree) == "choice":
        for i, option in enumerate(tree["choice"]):
            yield (*path, "choice", i)
            yield from _options(option, (*path, "choice", i))
    elif space.word_of(tree):
        return
    elif isinstance(tree, dict | list):
        for part, node in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _options(node, (*path, part))


def test_covering_trees_hold_every_two_options_that_can_meet():
    tree = read(
        "a: {choice: [1, 2]}\nb: {choice: [1, 2]}\nc: {choice: [x, {name: y, d: {choice: [1, 2]}}]}"
    )
    met = {
        (t["a"], t["b"], t["c"] if t["c"] == "x" else t["c"]["d"])
        for t in (traced.tree for traced in space.covering(tree))
    }
    assert {m[:2] for m in met} == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert {m[1:] for m in met} == {(b, c) for b in (1, 2) for c in ("x", 1, 2)}


def test_pairs_of_words_are_covered_before_pairs_of_numbers():
    text = "a: {choice: [1, 2]}\nb: {choice: [1, 2]}\nc: {choice: [x, y]}\nd: {choice: [x, y]}"
    trees = [traced.tree for traced in space.covering(read(text), pairs=4)]
    assert {(t["c"], t["d"]) for t in trees} == {(c, d) for c in "xy" for d in "xy"}
    assert (2, 2) not in {(t["a"], t["b"]) for t in trees}


def test_covering_trees_hold_each_bound_and_something_between():
    tree = read("a: {uniform: [0, 1]}\nb: {log_integers: [2, 9]}")
    drawn = [traced.tree for traced in space.covering(tree)]
    assert {0.0, 1.0} < {t["a"] for t in drawn}
    assert {t["b"] for t in drawn} == {2, 9}


def test_a_path_that_is_not_there_has_the_origin_of_what_is_above_it():
    tree = read("m: {choice: [{name: a, x: 1}]}")
    traced = next(space.covering(tree))
    assert traced.origin(("m", "y", 3)) == ("m", "choice", 0, "y", 3)


def test_a_random_draw_depends_on_its_name_alone():
    tree = read(GAN)
    one = space.sample(tree, space.random_suggester(Stream(3)))
    more = {"first": {"uniform": [0, 1]}, **tree}
    other = space.sample(more, space.random_suggester(Stream(3)))
    del other["first"]
    assert one == other
    assert one != space.sample(tree, space.random_suggester(Stream(4)))


def test_random_draws_reach_all_of_a_logarithmic_range():
    suggest = [space.random_suggester(Stream(seed)) for seed in range(300)]
    floats = [s.suggest_float("x", 1e-4, 1.0, log=True) for s in suggest]
    assert 0.3 < sum(x < 1e-2 for x in floats) / 300 < 0.7
    whole = {s.suggest_int("x", 1, 4, log=True) for s in suggest}
    assert whole == {1, 2, 3, 4}


def test_a_hole_is_cut_at_each_path():
    tree = read("a: [1, {b: 2}]\nc: 3")
    assert space.without(tree, {("a", 1, "b"), ("c",)}) == {"a": [1, {"b": None}], "c": None}
    assert tree["c"] == 3


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text("{}[]:,-&*!|>'\"%@` \n\tab1.~#?<"))
def test_any_text_is_read_or_refused_with_a_place(text):
    said = None
    try:
        space.parse(text, "s.yaml")
    except ConfigError as error:
        said = str(error)
    assert said is None or said.startswith("s.yaml:")


def test_of_a_long_line_and_a_long_message_the_part_that_matters_is_shown():
    text = "x" * 5000
    shown = space.Mark("f.yaml", 1, 3001, text).show("m" * 5000)
    assert max(map(len, shown.splitlines())) < 700
    _, line, caret = shown.splitlines()
    assert len(caret) <= len(line), "the caret stands below what is shown"


def test_of_many_faults_some_are_told_and_all_are_counted():
    document = space.parse("\n".join(f"k{i}: 1" for i in range(500)), "f.yaml")
    told = str(document.error([space.Fault((f"k{i}",), "is wrong.") for i in range(500)]))
    assert "k0: is wrong." in told and "and 480 more faults" in told
    assert len(told.splitlines()) < 70
