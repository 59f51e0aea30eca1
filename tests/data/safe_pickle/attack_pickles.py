"""Every attack: pickles that try to run code, or to take memory or time far beyond their size."""

from tests.data.safe_pickle.attack_archives import ARCHIVES
from tests.data.safe_pickle.attack_bombs import BOMBS
from tests.data.safe_pickle.attack_calls import MISUSED_NAMES, UNKNOWN_CALLS
from tests.data.safe_pickle.attack_forms import FORMS
from tests.data.safe_pickle.pickle_writing import call, name, whole


def attack_pickles() -> dict[str, tuple[bytes, str]]:
    """Every attack by name, with a part of the reason for which it is refused."""
    attacks = FORMS | BOMBS | ARCHIVES
    for module, attribute, arguments in UNKNOWN_CALLS:
        reason = "refers to " + ascii(f"{module}.{attribute}")[1:-1]
        attacks[f"call_{module}.{attribute}"] = (whole(call(name(module, attribute), *arguments)), reason)
    for index, ((module, attribute, arguments), reason) in enumerate(MISUSED_NAMES):
        attacks[f"misuse_{index}_{module}.{attribute}"] = (whole(call(name(module, attribute), *arguments)), reason)
    return attacks
