"""When and where the stages run: Prefect over DVC's graph. No telemetry; servers may start slowly, and may go away."""

import os

for _switch, _value in {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLIENT_MAX_RETRIES": "2",  # each waits twice as long as the last; stages do not need the server
    "OMP_WAIT_POLICY": "PASSIVE",  # stages side by side: threads that spin while they wait take cores from each other
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}.items():
    os.environ.setdefault(_switch, _value)
