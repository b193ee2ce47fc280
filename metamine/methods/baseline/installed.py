"""Whether a package that metamine does not depend on is there."""

from __future__ import annotations

from importlib import import_module


def absence(package: str) -> str | None:
    """Why a package cannot be used; None: it can.

    Imported to see, since one that is installed may lack a library of the system.
    """
    try:
        import_module(package)
    except ModuleNotFoundError as error:
        if error.name == package:
            return f"{package} is not installed; pip install {package}"
        return f"{package} is installed without {error.name}; pip install {error.name}"
    except Exception as error:  # a foreign package may raise anything
        return f"{package} cannot be imported: {' '.join(str(error).split())}"
    return None
