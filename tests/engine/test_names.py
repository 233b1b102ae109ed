"""What a class is called, and which classes a word means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeclassifier.compose.engine import imagenet_labels
from edgeclassifier.engine.names import Names, further_synonyms

IMAGENET = Names(imagenet_labels())
WORDS = st.text(st.sampled_from("aAbé ,()0123'"), max_size=8)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["house finch, linnet, Carpodacus mexicanus", "robin"], ["house finch", "robin"]),
        (["cat", "dog"], ["cat", "dog"]),
        (["crane", "cat", "crane"], ["crane (0)", "cat", "crane (2)"]),
        (["maillot", "maillot, tank suit"], ["maillot", "maillot, tank suit"]),
        (["Acer, red", "Acer, green", "Quercus"], ["Acer, red", "Acer, green", "Quercus"]),
        (["a, b, c", "a, b, d", "a, e"], ["a, b, c", "a, b, d", "a, e"]),
        (["a, b, c", "a, d, c"], ["a, b", "a, d"]),
        (["A", "a"], ["A", "a"]),
        (["oak,tree", ", elm", ",", "ash,"], ["oak", ", elm", ",", "ash"]),
        (["x", "x", "x (1)"], ["x (0)", "x (1)'", "x (1)"]),
        ([], []),
    ],
)
def test_the_first_synonym_is_the_name_and_each_class_has_its_own(
    labels: list[str], names: list[str]
) -> None:
    assert [*Names(labels).all] == names


def test_all_but_three_of_the_classes_of_imagenet_have_their_first_synonym() -> None:
    assert len(set(IMAGENET.all)) == 1000
    others = {
        class_id: name
        for class_id, (name, label) in enumerate(zip(IMAGENET.all, IMAGENET.labels, strict=True))
        if name != label.partition(",")[0]
    }
    assert others == {134: "crane (134)", 517: "crane (517)", 639: "maillot, tank suit"}


@pytest.mark.parametrize(
    ("word", "classes"),
    [
        ("web site", [916]),
        ("internet site", [916]),
        ("Website", [916]),
        ("  web   SITE ", [916]),
        ("house finch", [12]),
        ("Carpodacus mexicanus", [12]),
        ("house finch, linnet, Carpodacus mexicanus", [12]),
        ("crane", [134, 517]),
        ("crane (517)", [517]),
        ("panda", [387, 388]),
        ("tub", [876]),
        ("vat", [876]),
        ("bathtub", [435]),
        ("cardigan", [474]),
        ("Cardigan", [264]),
        ("CARDIGAN", [264, 474]),
        ("maillot", [638]),
        ("tank suit", [639]),
        ("", []),
        (",", []),
        ("web sit", []),
    ],
)
def test_a_word_means_the_class_that_is_called_so_or_all_that_may_be(
    word: str, classes: list[int]
) -> None:
    """The name, the label, or any synonym; what a payload says means its class alone."""
    assert [*IMAGENET.find(word)] == classes


@given(st.lists(WORDS, max_size=8))
def test_every_name_is_unique_and_means_its_class_and_no_synonym_is_unknown(
    labels: list[str],
) -> None:
    names = Names(labels)
    assert len(set(names.all)) == len(names.all) == len(labels)
    for class_id, (name, label) in enumerate(zip(names.all, labels, strict=True)):
        if name.strip():
            assert names.find(name) == (class_id,)
            assert class_id in names.find(label) or not label.strip()
        for synonym in label.split(","):
            assert names.find(synonym) or not synonym.strip()


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("web sit", 'did you mean "web site"?'),
        ("hous finch", 'did you mean "house finch"?'),
        ("linet", 'did you mean "house finch"?'),
        ("blackbird of mine", 'it has "tench", "goldfish", "great white shark", …'),
    ],
)
def test_what_is_not_known_is_answered_with_what_may_have_been_meant(word: str, meant: str) -> None:
    assert IMAGENET.unknown(word) == f'the model has no class "{word}": {meant}'


def test_an_unknown_word_commands_no_terminal() -> None:
    assert "\x1b" not in Names(["cat"]).unknown("\x1b[2J")


@pytest.mark.parametrize(
    ("name", "label", "further"),
    [
        ("tabby", "tabby, tabby cat", "tabby cat"),
        ("cat", "cat", ""),
        ("crane (134)", "crane", ""),
        ("maillot, tank suit", "maillot, tank suit", ""),
    ],
)
def test_the_further_synonyms_are_the_rest_of_the_label(
    name: str, label: str, further: str
) -> None:
    assert further_synonyms(name, label) == further
