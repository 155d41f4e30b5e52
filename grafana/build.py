"""`python -m grafana.build`: write dashboards/*.json, which Grafana provisions."""

import json
import warnings
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).parent / "dashboards"


def build_all() -> dict[str, str]:
    """Return the content of each file by its name."""
    # The SDK recommends the second version of dashboards, which Grafana 12 cannot provision from files.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    from grafana.load_test import load_test  # noqa: PLC0415
    from grafana.service import service  # noqa: PLC0415
    from grafana.slo import slo  # noqa: PLC0415
    from grafana.stack_health import stack_health  # noqa: PLC0415
    from grafana.trace_logs import trace_logs  # noqa: PLC0415

    files = {}
    for builder in (service(), trace_logs(), slo(), stack_health(), load_test()):
        model = builder.build()
        # Grafana would number the panels in the same way.
        nested = [panel for row in model.panels or [] for panel in getattr(row, "panels", None) or []]
        for number, panel in enumerate([*(model.panels or []), *nested], start=1):
            panel.id_val = panel.id_val or number
        files[f"{model.uid}.json"] = json.dumps(model, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
    return files


def main() -> None:
    """Write the files."""
    for name, content in build_all().items():
        (FOLDER / name).write_text(content)


if __name__ == "__main__":
    main()
