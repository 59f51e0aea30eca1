"""How the published systems name, size and feed their models: one file per system, used to import their weights."""

from importlib import import_module

from modeling_hfr_ame.errors import DataError
from modeling_hfr_ame.evaluation.reference_systems.reference_system import ReferenceSystem, Replay

__all__ = ["ReferenceSystem", "Replay", "find_reference_system"]

# `model` in a golden folder's config.json → file of this folder, and the name in it.
_PLACES = {
    "DashFusion": ("dashfusion", "SYSTEM"),
    "HME": ("hme", "SYSTEM"),
    "CyIN": ("cyin", "SYSTEM"),
    "LNLN": ("lnln", "SYSTEM"),
    "MMSLF teacher": ("mmslf", "TEACHER"),
    "MMSLF student": ("mmslf", "STUDENT"),
}


def find_reference_system(model: str) -> ReferenceSystem:
    """Looks a published system up.

    Args:
        model: Its name, in any case.

    Raises:
        DataError: There is none of that name.
    """
    for name, (file, attribute) in _PLACES.items():
        if name.lower() == model.lower():
            system: ReferenceSystem = getattr(import_module(f"{__name__}.{file}"), attribute)
            return system
    raise DataError(f"the model must be one of {', '.join(_PLACES)}; found {model!r}; check config.json")
