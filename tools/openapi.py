"""Write docs/openapi.json anew: python tools/openapi.py"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parent.parent / "docs" / "openapi.json"


def document() -> dict[str, Any]:
    """The OpenAPI document of the service of this checkout."""
    from personare.serve.app import create_app
    from personare.serve.settings import ServeSettings

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(ServeSettings(data=Path(folder)))
        app.state.house.database.close()
        return app.openapi()


if __name__ == "__main__":
    TARGET.write_text(json.dumps(document(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
